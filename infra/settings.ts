/**
 * From a stage of the table, a stage file and context to the settings of one synthesis. Called by `app.ts` and by tests.
 * Later ones win: `stages.ts`, then `-c stageFile=acme.json`, then `-c <setting>=<value>`. Whatever does not fit throws
 * SettingError, whose message is one line that names the setting and says what would do.
 */
import { readFileSync } from 'node:fs';
import { contradiction, settingRules } from './setting-rules.js';
import { SettingError } from './setting-error.js';
import { type Stage, stages } from './stages.js';

/** Context as CDK has it: from the command line (always text), `cdk.json` and files of the user. */
export type Context = Readonly<Record<string, unknown>>;

type Settings = Readonly<Record<string, unknown>>;

const stageNames = Object.keys(stages).join(', ');

export function readStage(context: Context): Stage {
  const file = context['stageFile'] === undefined ? {} : readStageFile(context['stageFile']);
  const { stage: fileStage, ...fileSettings } = file;
  const base = baseOf(context['stage'] ?? fileStage ?? 'dev');
  const fromContext = Object.fromEntries(Object.entries(context).filter(([name]) => isOurs(name)));
  const given = { ...checked(fileSettings, ' in the stage file'), ...checked(fromContext, '') };
  const stage: Stage = { ...base, ...ownPrefix(base, given), ...clusterSize(given), ...given };
  const fault = contradiction(stage);
  if (fault !== undefined) throw new SettingError(fault);
  return stage;
}

function baseOf(name: unknown): Stage {
  const stage = Object.values(stages).find((one) => one.name === name);
  if (stage === undefined) throw new SettingError(`stage=${String(name)} is not one of ${stageNames}`);
  return stage;
}

/** A stage with a name of its own has tables of its own. */
function ownPrefix(base: Stage, given: Partial<Stage>): Partial<Stage> {
  const isRenamed = given.name !== undefined && given.name !== base.name;
  return isRenamed ? { tablePrefix: `shoal-${given.name}-` } : {};
}

/** Of brokers that are linked there are two at least; more only if somebody says so. */
function clusterSize({ clustered, brokersMin = 2, brokersMax = 2 }: Partial<Stage>): Partial<Stage> {
  return clustered === true ? { brokersMin, brokersMax: Math.max(brokersMin, brokersMax) } : {};
}

/** What CDK and its tools keep in the context has a colon, a slash or an @ in its name. */
function isOurs(name: string): boolean {
  return !/[:/@]/.test(name) && !['stage', 'stageFile', 'cli-telemetry', 'acknowledged-issue-numbers'].includes(name);
}

function checked(settings: Settings, where: string): Partial<Stage> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => {
      const rule = Object.hasOwn(settingRules, name) ? settingRules[name as keyof Stage] : undefined;
      if (!rule) throw new SettingError(`${name}${where} is not a setting; infra/stages.ts lists them`);
      const read = rule.read(value);
      if (read === undefined) throw new SettingError(`${name}=${shown(value)}${where} is not ${rule.words}`);
      return [name, read];
    }),
  );
}

function readStageFile(path: unknown): Settings {
  let text: string;
  try {
    text = readFileSync(String(path), 'utf8');
  } catch (error) {
    throw new SettingError(`stageFile=${String(path)} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new SettingError(`stageFile=${String(path)} is not JSON; use {"stage": "prod", "name": "acme"}`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Settings;
  throw new SettingError(`stageFile=${String(path)} is not a JSON object; use {"stage": "prod", "name": "acme"}`);
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value.replaceAll(/\s+/g, ' ') : JSON.stringify(value);
}
