/** What a person needs to understand a broken promise: how many of each kind, and the history of the first of each. */
import { type Broken, check, type Violation } from './checks.js';
import type { Entry, History } from './history.js';

const linesMax = 60;

/** Throws unless the history keeps every promise; `note` names the seed and whatever else repeats the run. */
export function requireKept(history: History, note: string): void {
  const violations = check(history.entries);
  if (violations.length > 0) throw new Error(describe(history.entries, violations, note));
}

export function describe(entries: readonly Entry[], violations: readonly Violation[], note: string): string {
  const byKind = new Map<Broken, Violation[]>();
  for (const one of violations) byKind.set(one.broken, [...(byKind.get(one.broken) ?? []), one]);
  const parts = [...byKind].map(([broken, all]) => {
    const first = all[0]!;
    const clients = [...new Set(all.map(({ client }) => client))].join(', ');
    const what = `${first.key ?? ''} ${first.detail} (${first.client})`;
    return `${broken}: ${all.length} (${clients}), the first: ${what}\n${explain(entries, first)}`;
  });
  return `${note}\n${parts.join('\n\n')}`;
}

/** Everything about one message and the client concerned, with what happened to the broker between. */
export function explain(entries: readonly Entry[], { key, client }: Violation): string {
  const publisher = key?.split(' ')[0];
  const concerns = (entry: Entry): boolean => {
    if (entry.type === 'harness') return true;
    if ('key' in entry && entry.key === key) return entry.type !== 'arrived' || client.includes(entry.client);
    if (entry.type === 'connected' || entry.type === 'ended' || entry.type === 'subscribed' || entry.type === 'fault')
      return client.includes(entry.client) || entry.client === publisher;
    return entry.type === 'retained' && entry.topic === client;
  };
  const about = entries.filter(concerns);
  const at = about.findIndex((entry) => 'key' in entry && entry.key === key);
  const from = Math.max(0, Math.min(at < 0 ? Infinity : at - linesMax / 3, about.length - linesMax));
  return about
    .slice(from, from + linesMax)
    .map(({ atMs, ...entry }) => `  ${(atMs / 1000).toFixed(3).padStart(8)} ${line(entry)}`)
    .join('\n');
}

function line({ type, ...rest }: Omit<Entry, 'atMs'>): string {
  return `${type} ${Object.entries(rest)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(' ')}`;
}
