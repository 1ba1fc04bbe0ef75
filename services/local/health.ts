/** Whether every part of the machine does its work, asked part by part each time: what `GET /healthz` answers. */

export interface Health {
  readonly ok: boolean;
  /** `ok`, or why not. */
  readonly parts: Readonly<Record<string, string>>;
}

/** A part that answers later than this does not serve. */
const answerWithinMs = 2000;

/** Asks all parts at once; a probe that throws or stays silent names its part. */
export async function healthOf(probes: Readonly<Record<string, () => Promise<unknown>>>): Promise<Health> {
  const answers = await Promise.all(
    Object.entries(probes).map(async ([part, probe]) => [part, await answerOf(probe)] as const),
  );
  return { ok: answers.every(([, answer]) => answer === 'ok'), parts: Object.fromEntries(answers) };
}

async function answerOf(probe: () => Promise<unknown>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no answer within ${answerWithinMs} ms`), answerWithinMs);
  });
  try {
    return await Promise.race([probe().then(() => 'ok'), silence]);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
}
