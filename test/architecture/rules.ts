/**
 * Turns the table of `rooms.ts` into dependency-cruiser rules and runs them. Called by `check.ts` (`npm run check`) and
 * by the test that guards this guard. It never fixes anything and knows no room by name.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cruise, type ICruiseResult, type IForbiddenRuleType, type IViolation } from 'dependency-cruiser';
import { outside, packageRooms, rooms, type Room } from './rooms.js';

const escaped = (text: string): string => text.replaceAll('.', '\\.');

/** Every folder that has a place on the map. */
const folders: readonly string[] = ['services', 'tenants-api', 'infra'];

/** The files of a room, other than its door. */
function roomRules(name: string, room: Room): IForbiddenRuleType[] {
  const doors = (names: readonly string[]): string[] =>
    names.map((other) => {
      const door = rooms[other]?.door;
      if (door === undefined) throw new Error(`room ${name} may import ${other}, which has no door`);
      return `^${escaped(door)}$`;
    });
  const types = doors(room.mayImportTypes ?? []);
  const rules: IForbiddenRuleType[] = [
    {
      name: `${name}-imports-only-its-arrows`,
      comment: `${name} may import the doors of: ${[...room.mayImport, ...(room.mayImportTypes ?? []).map((n) => `${n} (types)`)].join(', ') || 'nothing'}`,
      severity: 'error',
      from: { path: room.files },
      to: { path: folders.map((folder) => `^${folder}/`), pathNot: [room.files, ...doors(room.mayImport), ...types] },
    },
  ];
  if (types.length > 0) {
    rules.push({
      name: `${name}-imports-types-only`,
      severity: 'error',
      from: { path: room.files },
      to: { path: types, dependencyTypesNot: ['type-only'] },
    });
  }
  if (room.door !== undefined) {
    rules.push({
      name: `${name}-never-imports-its-own-door`,
      comment: 'files inside a room import each other directly',
      severity: 'error',
      from: { path: room.files },
      to: { path: `^${escaped(room.door)}$` },
    });
  }
  return rules;
}

function packageRules(): IForbiddenRuleType[] {
  return Object.entries(packageRooms).map(([name, owners]) => ({
    name: `${name.replaceAll(/[@/]/g, '')}-belongs-to-its-room`,
    comment: owners.length > 0 ? `${name} is for ${owners.join(', ')}` : `${name} is for tests and bench`,
    severity: 'error',
    from: {
      path: folders.map((folder) => `^${folder}/`),
      ...(owners.length > 0 ? { pathNot: owners.map((owner) => rooms[owner]?.files ?? owner) } : {}),
    },
    to: { path: `node_modules/${escaped(name)}${name.endsWith('/') ? '' : '/'}` },
  }));
}

function everywhereRules(): IForbiddenRuleType[] {
  const mapped = folders.map((folder) => `^${folder}/`);
  return [
    {
      name: 'no-cycles',
      comment: "of what is left at run time; files of one room may name each other's types",
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'nothing-unresolved',
      severity: 'error',
      // The packages of these programs are installed by a command of their own.
      from: { pathNot: '^test/clients/programs/' },
      to: { couldNotResolve: true },
    },
    {
      name: 'product-never-imports-tests',
      severity: 'error',
      from: { path: mapped },
      to: { path: outside.map((folder) => `^${folder}/`) },
    },
    {
      name: 'product-never-imports-dev-dependencies',
      severity: 'error',
      from: { path: ['^services/', '^tenants-api/'] },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'], pathNot: 'node_modules/@types/' },
    },
  ];
}

export const forbidden: readonly IForbiddenRuleType[] = [
  ...Object.entries(rooms).flatMap(([name, room]) => roomRules(name, room)),
  ...packageRules(),
  ...everywhereRules(),
];

export interface RoomReport {
  /** Files of the product that the check has read, relative to the root. */
  readonly files: readonly string[];
  readonly violations: readonly string[];
}

/** Checks the tree below `root`, whose top level has the folders of the map. */
export async function checkRooms(root: string, scanned: readonly string[]): Promise<RoomReport> {
  const tsConfigFile = join(root, 'tsconfig.json');
  const { output } = await cruise(
    [...scanned],
    {
      baseDir: root,
      validate: true,
      ruleSet: { forbidden: [...forbidden] },
      tsPreCompilationDeps: true,
      tsConfig: { fileName: tsConfigFile },
      doNotFollow: { path: 'node_modules' },
      // What client programs import they install for themselves, and not everywhere.
      exclude: { path: '^(dist|coverage|cdk\\.out|test/clients/programs)/' },
      enhancedResolveOptions: {
        extensions: ['.ts', '.js', '.mjs', '.json', '.d.ts'],
        exportsFields: ['exports'],
        conditionNames: ['import', 'node', 'default', 'types'],
      },
    },
    undefined,
    { tsConfig: JSON.parse(readFileSync(tsConfigFile, 'utf8')) },
  );
  const result = output as ICruiseResult;
  const files = result.modules.map((module) => module.source).filter((source) => !source.includes('node_modules'));
  return { files, violations: [...result.summary.violations.map(described), ...withoutRoom(files)] };
}

function described({ rule, from, to, cycle }: IViolation): string {
  return `${rule.name}: ${from} -> ${cycle?.map((step) => step.name).join(' -> ') ?? to}`;
}

/** A new folder needs a row in `rooms.ts`. */
function withoutRoom(files: readonly string[]): string[] {
  const everyRoom = Object.values(rooms).map((room) => new RegExp(room.files));
  return files
    .filter((file) => file.endsWith('.ts') && folders.some((folder) => file.startsWith(`${folder}/`)))
    .filter((file) => !everyRoom.some((room) => room.test(file)))
    .map((file) => `every-file-is-in-a-room: ${file}`);
}
