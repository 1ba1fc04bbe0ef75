/**
 * Preloaded into Shoal's processes by `--database fast`: the one that would be the embedded DynamoDB becomes the fast
 * database, whose bundle is in BENCH_DATABASE; the others are left alone. So it serves other checkouts as well. Plain
 * JavaScript, because it runs inside these processes.
 */
import { registerHooks } from 'node:module';

const bundle = process.env['BENCH_DATABASE'];

if (bundle !== undefined && process.argv[1]?.endsWith('dynamodb.js')) {
  registerHooks({
    resolve: (specifier, context, next) =>
      next(context.parentURL === undefined && specifier.endsWith('/dynamodb.js') ? bundle : specifier, context),
  });
}
