/** Lint: type-aware where a type is what finds the bug, and the bans that keep the pure rooms pure. */
import tseslint from 'typescript-eslint';

/** Rooms that are plain functions of their arguments: time, chance and the world come in from outside. */
const pureRooms = [
  'services/broker/message/**/*.ts',
  'services/broker/wire/**/*.ts',
  'services/broker/session/**/*.ts',
  'services/broker/fanout/**/*.ts',
  'services/broker/interest/**/*.ts',
  'services/topic/**/*.ts',
  'services/broker/mesh/{frames/*,link-state,endings}.ts',
];

const impureGlobals = [
  'Date',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'process',
  'crypto',
  'fetch',
  'globalThis',
];

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', 'cdk.out/', 'node_modules/', '.shoal/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts'],
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    plugins: { '@typescript-eslint': tseslint.plugin },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unnecessary-type-assertion': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/no-base-to-string': 'error',
      '@typescript-eslint/no-deprecated': 'warn',
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'separate-type-imports', disallowTypeAnnotations: false },
      ],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      '@typescript-eslint/prefer-as-const': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': 'error',
      'no-eval': 'error',
      'no-new-func': 'error',
      'no-self-compare': 'error',
      'no-unreachable-loop': 'error',
      'no-unsafe-finally': 'error',
      'no-constant-condition': ['error', { checkLoops: 'allExceptWhileTrue' }],
      'no-debugger': 'error',
      'no-sparse-arrays': 'error',
      'no-empty': ['error', { allowEmptyCatch: false }],
    },
  },
  {
    files: ['services/**/*.ts', 'tenants-api/**/*.ts'],
    ignores: ['services/local/**'],
    rules: { 'no-console': 'error' },
  },
  {
    files: pureRooms,
    rules: {
      'no-restricted-globals': [
        'error',
        ...impureGlobals.map((name) => ({ name, message: 'a pure room: time, chance and the world are arguments' })),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'a pure room: chance is an argument' },
      ],
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              // Buffer is a data type here; everything else of Node is the world.
              regex: '^node:(?!buffer$)',
              message: 'a pure room imports nothing of Node but node:buffer',
            },
          ],
        },
      ],
    },
  },
);
