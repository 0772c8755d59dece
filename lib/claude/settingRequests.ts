import { isDeepStrictEqual } from 'node:util';
import {
  type Command,
  RUN_ID_VARIABLE,
  SET_MODEL_REQUEST,
  SET_PERMISSION_MODE_REQUEST,
} from './command.js';

const MODEL = '--model=';
const PERMISSION_MODE = '--permission-mode=';

/**
 * The permission modes that a control request may set, and leave. Not `bypassPermissions`, which no process is to get
 * that was not started for it; not `auto`, which depends on more than its name; and not `manual`: 2.1.197 takes any word
 * as a mode here, but refuses to start with this one.
 */
const SETTABLE_MODES: readonly (string | undefined)[] = [
  'default',
  'acceptEdits',
  'plan',
  'dontAsk',
];

/**
 * The control requests that make a process which waits for its first message the one that another command would have
 * started; `undefined` when nothing does. Only the model and the permission mode can be changed after the start.
 *
 * The conversation that follows is the same in every byte that the model is sent, but for the note that 2.1.197 puts
 * before the prompt when its model was changed.
 */
export function settingRequests(spare: Command, wanted: Command): object[] | undefined {
  if (!isDeepStrictEqual(unsettable(spare), unsettable(wanted))) return undefined;
  const requests: object[] = [];
  const model = lastValue(wanted, MODEL);
  if (model !== lastValue(spare, MODEL)) {
    if (model === undefined) return undefined;
    requests.push(request(SET_MODEL_REQUEST, { subtype: 'set_model', model }));
  }
  const [from, mode] = [lastValue(spare, PERMISSION_MODE), lastValue(wanted, PERMISSION_MODE)];
  if (mode !== from) {
    const isLeft = from === undefined || SETTABLE_MODES.includes(from);
    if (!isLeft || !SETTABLE_MODES.includes(mode)) return undefined;
    requests.push(request(SET_PERMISSION_MODE_REQUEST, { subtype: 'set_permission_mode', mode }));
  }
  return requests;
}

/** What is fixed once a process has started. */
function unsettable({ command, args, cwd, env, setup }: Command): object {
  return {
    command,
    cwd,
    setup,
    args: args.filter((arg) => !arg.startsWith(MODEL) && !arg.startsWith(PERMISSION_MODE)),
    env: { ...env, [RUN_ID_VARIABLE]: undefined },
  };
}

/** The last word counts for the CLI. */
function lastValue({ args }: Command, flag: string): string | undefined {
  return args
    .filter((arg) => arg.startsWith(flag))
    .at(-1)
    ?.slice(flag.length);
}

function request(request_id: string, request: object): object {
  return { type: 'control_request', request_id, request };
}
