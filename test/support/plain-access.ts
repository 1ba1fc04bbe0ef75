/** Access rules as their definition says: each grant by itself, level by level, for one client. */
import type { Access, Grant } from '../../services/tenancy/tenancy.js';

interface Filter {
  readonly levels: readonly string[];
  /** A deny of all, topics with a `$` in front included. */
  readonly isWhole: boolean;
}

export function plainAccess(grants: readonly Grant[], who: { clientId: string; username: string }): Access {
  const filters = (effect: Grant['effect'], action: 'publish' | 'subscribe'): Filter[] =>
    grants
      .filter((grant) => grant.effect === effect && (grant.action === action || grant.action === 'all'))
      .flatMap((grant) => filterFor(grant, who) ?? []);
  return {
    mayPublish: (topic) =>
      !/^\$(SYS|share)(\/|$)/.test(topic) &&
      filters('allow', 'publish').some((allow) => covers(allow, topic)) &&
      !filters('deny', 'publish').some((deny) => covers(deny, topic)),
    maySubscribe: (filter) =>
      !/^\$share(\/|$)/.test(filter) &&
      filters('allow', 'subscribe').some((allow) => covers(allow, filter)) &&
      !filters('deny', 'subscribe').some((deny) => overlaps(deny, filter)),
  };
}

/** The filter for this client; undefined when it matches nothing. */
function filterFor({ effect, topic }: Grant, who: { clientId: string; username: string }): Filter | undefined {
  const levels: string[] = [];
  for (const [i, template] of topic.split('/').entries()) {
    let isUnsafe = false;
    const level = template.replace(/\$\{(clientid|username)\}/g, (_, variable: string) => {
      const value = variable === 'clientid' ? who.clientId : who.username;
      isUnsafe ||= /[/+#\0]/.test(value);
      return value;
    });
    if (effect === 'allow' && i === 0 && level.startsWith('$') && /^\$\{(clientid|username)\}/.test(template))
      return undefined;
    if (!isUnsafe) levels.push(level);
    else if (effect === 'allow') return undefined;
    else return { levels: [...levels, '#'], isWhole: i === 0 };
  }
  return { levels, isWhole: false };
}

/** Whether every topic that `inner` matches is matched by the filter, too. `inner` may be a topic. */
function covers({ levels, isWhole }: Filter, inner: string): boolean {
  const n = inner.split('/');
  if (levels[0] === '+' && levels[1] === '#') return !n[0]!.startsWith('$'); // `+/#` is `#`.
  if (!isWhole && hides(levels, n)) return false;
  for (const [i, level] of levels.entries()) {
    if (level === '#') return true;
    if (i >= n.length || n[i] === '#' || (level !== '+' && level !== n[i])) return false;
  }
  return levels.length === n.length;
}

/** Whether some topic is matched by both. */
function overlaps({ levels: x, isWhole }: Filter, filter: string): boolean {
  const y = filter.split('/');
  if (!isWhole && (hides(x, y) || hides(y, x))) return false;
  for (let i = 0; ; i++) {
    if (x[i] === '#' || y[i] === '#') return true;
    if (i >= x.length || i >= y.length) return x.length === y.length;
    if (x[i] !== '+' && y[i] !== '+' && x[i] !== y[i]) return false;
  }
}

/** [MQTT-4.7.2-1] */
function hides(filter: readonly string[], name: readonly string[]): boolean {
  return (filter[0] === '+' || filter[0] === '#') && name[0]!.startsWith('$');
}
