/** A setting that cannot be used. The message is one line that names it; `app.ts` shows it and nothing else. */
export class SettingError extends Error {
  override readonly name = 'SettingError';
}
