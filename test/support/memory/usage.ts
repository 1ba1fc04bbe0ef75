/** What tenants have used, in memory. */
import type { UsageStore } from '../../../services/broker/tenant/tenant.js';

export class MemoryUsage implements UsageStore {
  /** By scope and day. */
  readonly days = new Map<string, number>();

  read(scope: string, month: string): Promise<number> {
    const ofMonth = [...this.days].filter(([day]) => day.startsWith(`${scope} ${month}`));
    return Promise.resolve(ofMonth.reduce((sum, [, units]) => sum + units, 0));
  }

  add(scope: string, day: string, units: number): Promise<void> {
    this.days.set(`${scope} ${day}`, (this.days.get(`${scope} ${day}`) ?? 0) + units);
    return Promise.resolve();
  }
}
