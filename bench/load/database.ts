/** What a broker asked of its database so far, from its own counters. Only Shoal has a database and counts. */

export interface DatabaseUse {
  /** Items that group commit put or deleted. */
  readonly itemWrites: number;
  /** Of all actions on all tables, renewing leases and storing meters included. */
  readonly calls: number;
  readonly writeUnits: number;
  readonly readUnits: number;
}

export async function readDatabaseUse(metricsUrl: string | undefined): Promise<DatabaseUse | undefined> {
  if (metricsUrl === undefined) return undefined;
  const text = await (await fetch(metricsUrl)).text();
  return {
    itemWrites: sum(text, /^shoal_commit_writes_total(?:{.*})? (\S+)$/gm),
    calls: sum(text, /^shoal_dynamodb_calls_total{.*} (\S+)$/gm),
    writeUnits: sum(text, /^shoal_dynamodb_units_total{.*kind="write".*} (\S+)$/gm),
    readUnits: sum(text, /^shoal_dynamodb_units_total{.*kind="read".*} (\S+)$/gm),
  };
}

export function usedSince(before: DatabaseUse | undefined, after: DatabaseUse | undefined): DatabaseUse | undefined {
  if (!before || !after) return undefined;
  return {
    itemWrites: after.itemWrites - before.itemWrites,
    calls: after.calls - before.calls,
    writeUnits: after.writeUnits - before.writeUnits,
    readUnits: after.readUnits - before.readUnits,
  };
}

function sum(text: string, line: RegExp): number {
  return [...text.matchAll(line)].reduce((total, [, value]) => total + Number(value), 0);
}
