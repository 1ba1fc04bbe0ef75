/** How places are shared: nobody can take all of them, and who leaves gives back what was taken. */
import { expect, it } from 'vitest';
import { ofStranger, ofTenant, type Place, Places } from '../../../services/broker/admission/places.js';
import type { TenantScope } from '../../../services/kernel/kernel.js';

const scope = (name: string): TenantScope => name as TenantScope;

/** As many as the address and the name get. */
function takeAll(places: Places, address: string, name: string): Place[] {
  const taken: Place[] = [];
  for (let place = places.take(ofStranger(address, name)); place; place = places.take(ofStranger(address, name)))
    taken.push(place);
  return taken;
}

it('one address has a twelfth, and leaves room for others whatever names it uses', () => {
  const places = new Places(4096);
  expect(takeAll(places, '192.0.2.1', 'acme')).toHaveLength(342);
  expect(takeAll(places, '192.0.2.1', 'other')).toHaveLength(0);
  expect(takeAll(places, '192.0.2.2', 'acme').length).toBeGreaterThan(200); // Its own tenant is not shut out by one address.
});

it('many addresses that name one tenant leave room for the other tenants', () => {
  const places = new Places(4096);
  for (let i = 0; i < 1000; i++) takeAll(places, `192.0.2.${i}`, 'acme');
  expect(places.taken).toBe(615);
  expect(takeAll(places, '198.51.100.1', 'other').length).toBeGreaterThan(200);
});

it('tenants that take all they get always leave places', () => {
  const places = new Places(4096);
  const become = (name: string): boolean => {
    const place = places.take(ofStranger(`address of ${name}`, name));
    return place?.becomes(ofTenant(scope(name))) ?? false;
  };
  for (let tenant = 0; tenant < 50; tenant++) while (become(`hostile ${tenant}`));
  expect(places.taken).toBeLessThan(3600);
  expect(become('good')).toBe(true);
});

it('a place counts for one group at a time, and for none when it has been left', () => {
  const places = new Places(4096);
  const taken = takeAll(places, '192.0.2.1', 'acme');
  const [one, other] = [taken[0]!, taken[1]!];
  expect(places.take(ofStranger('192.0.2.1', 'acme'))).toBeUndefined();
  expect(one.becomes(ofTenant(scope('acme')))).toBe(true);
  expect(places.take(ofStranger('192.0.2.1', 'acme'))).toBeDefined();
  const before = places.taken;
  for (let i = 0; i < 3; i++) one.leave();
  other.leave();
  expect(places.taken).toBe(before - 2);
});

it('a place that its tenant has no share for is left', () => {
  const places = new Places(4096);
  for (let i = 0; places.take(ofStranger(`${i}`, `name ${i}`))!.becomes(ofTenant(scope('acme'))); i++);
  expect(places.taken).toBe(615);
});
