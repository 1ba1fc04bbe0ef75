/**
 * The rules of "Specification: Embedded metric format" in the CloudWatch user guide, for one line: what breaks them. A line
 * that does is kept as a log line and makes no metric, which nobody is told.
 */
const units = new Set([
  ...['Seconds', 'Microseconds', 'Milliseconds', 'Bytes', 'Kilobytes', 'Megabytes', 'Gigabytes', 'Terabytes', 'Bits'],
  ...['Kilobits', 'Megabits', 'Gigabits', 'Terabits', 'Percent', 'Count', 'None'],
  ...[
    'Bytes',
    'Kilobytes',
    'Megabytes',
    'Gigabytes',
    'Terabytes',
    'Bits',
    'Kilobits',
    'Megabits',
    'Gigabits',
    'Terabits',
  ].map((unit) => `${unit}/Second`),
  'Count/Second',
]);
const dayMs = 86_400_000;
/** CloudWatch Logs, of an event. */
const lineBytesMax = 1 << 20;

interface Directive {
  readonly Namespace?: unknown;
  readonly Dimensions?: unknown;
  readonly Metrics?: unknown;
}

export function emfFaults(line: string, nowMs: number): string[] {
  const faults: string[] = [];
  const rule = (holds: boolean, words: string): void => {
    if (!holds) faults.push(words);
  };
  const root = JSON.parse(line) as Record<string, unknown>;
  rule(Buffer.byteLength(line) <= lineBytesMax, 'the line is longer than an event may be');
  const { Timestamp: timestamp, CloudWatchMetrics: directives } = Object(root['_aws']) as Record<string, unknown>;
  rule(Number.isInteger(timestamp), 'Timestamp is a whole number of milliseconds');
  const ageMs = nowMs - Number(timestamp);
  rule(ageMs <= 14 * dayMs && ageMs >= -dayMs / 12, 'Timestamp is at most two weeks old and two hours ahead');
  if (!Array.isArray(directives) || directives.length === 0) return [...faults, 'CloudWatchMetrics is an array'];
  for (const directive of directives as Directive[]) checkDirective(directive, root, rule);
  return faults;
}

function checkDirective(
  { Namespace: namespace, Dimensions: sets, Metrics: metrics }: Directive,
  root: Record<string, unknown>,
  rule: (holds: boolean, words: string) => void,
): void {
  rule(typeof namespace === 'string' && /^[\w./#:-]{1,255}$/.test(namespace), 'Namespace has 1 to 255 characters');
  rule(Array.isArray(sets) && sets.length > 0, 'Dimensions is an array of sets');
  for (const set of sets as string[][]) {
    rule(Array.isArray(set) && set.length <= 30, 'a set of dimensions has at most 30 keys');
    for (const key of set) {
      const value = root[key];
      rule(
        typeof value === 'string' && value.length >= 1 && value.length <= 1024,
        `dimension ${key} is a text at the root`,
      );
      rule(key.length <= 250 && !key.startsWith(':'), `${key} is the name of a dimension`);
    }
  }
  rule(Array.isArray(metrics) && metrics.length <= 100, 'Metrics has at most 100 definitions');
  const names = new Set<string>();
  for (const { Name: name, Unit: unit, StorageResolution: resolution, ...more } of metrics as Record<
    string,
    unknown
  >[]) {
    rule(typeof name === 'string' && name.length >= 1 && name.length <= 255, 'a metric has a name');
    rule(!names.has(String(name)), `${String(name)} is defined once`);
    names.add(String(name));
    rule(
      unit === undefined || (typeof unit === 'string' && units.has(unit)),
      `${String(name)} has a unit that is known`,
    );
    rule([undefined, 1, 60].includes(resolution as number), 'StorageResolution is 1 or 60');
    rule(Object.keys(more).length === 0, 'a definition has no other member');
    const values = [root[String(name)]].flat();
    rule(values.length >= 1 && values.length <= 100, `${String(name)} has 1 to 100 values`);
    rule(
      values.every((value) => typeof value === 'number' && Number.isFinite(value)),
      `${String(name)} has numbers at the root`,
    );
  }
}
