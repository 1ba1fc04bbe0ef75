/**
 * How long a broker may rely on what another has told it of subscriptions (G2).
 *
 *     watcher                                    the broker with subscribers
 *     ping, at t by its clock  ───────────────►  answers, at a by its clock; what it told before has been sent before
 *     handles the answer; relies on it           waits with SUBACK for the watcher's confirmation,
 *     until t + validMs                          but not beyond a + endedMs
 *
 * t is before a, whatever the clocks show, so the watcher stops to rely on it before the other one stops to wait. Neither clock is
 * compared with the other; only their speed has to be the same within `driftMax`.
 */

/** A link may be silent for so long before anybody waits for it. Four pings. */
export const validMs = 2000;
export const pingMs = 500;
/** Clocks of machines differ by some parts in 10 000 while they are slewed; this is 2 in 100. */
const driftMax = 0.02;
export const endedMs = validMs * (1 + 2 * driftMax);
