import { pino } from 'pino';
import { forgiving, type Log, logBytesMax } from '../../kernel/kernel.js';

/** JSON lines on standard error, so that standard output stays free. */
export function makeLog(level: string, fields: object): Log {
  return pino(
    { level, base: fields, serializers: { error: pino.stdSerializers.err }, timestamp: pino.stdTimeFunctions.isoTime },
    forgiving(pino.destination({ dest: 2, sync: false, maxLength: logBytesMax })),
  );
}
