/**
 * Everything that can go wrong, by code: the HTTP status while the response headers are not yet sent, and the
 * sentence a client may read. The sentence never holds a path, a flag or anything the process wrote to stderr.
 */
const errors = {
  // The application is set up wrongly: thrown at creation.
  invalid_option: [500, 'The server is not set up correctly.'],
  not_called: [500, 'The server is not set up correctly.'],

  // The request cannot be run.
  invalid_api_key: [401, 'The API key is missing or wrong.'],
  unknown_url: [404, 'There is nothing at this URL.'],
  method_not_allowed: [405, 'The method is not allowed here.'],
  invalid_body: [400, 'The request body cannot be read.'],
  body_too_large: [413, 'The request body is too large.'],
  body_not_parsed: [400, 'The request has no parsed JSON body.'],
  invalid_request: [400, 'The request is not valid.'],
  unsupported_parameter: [400, 'The request asks for something that is not supported.'],
  invalid_prompt: [400, 'The prompt is not valid.'],
  invalid_messages: [400, 'The messages are not valid.'],
  prompt_too_large: [413, 'The prompt is too large.'],
  model_not_offered: [400, 'The model is not offered.'],
  response_already_sent: [500, 'The response was already sent.'],

  // The run cannot be shown.
  run_not_found: [404, 'There is no such run.'],
  run_expired: [410, 'The run is over, and its events are not kept any more.'],
  not_authorized: [403, 'You may not see this run.'],
  store_unavailable: [503, 'The events of the run cannot be had at the moment.'],
  events_lost: [410, 'Some events of the run are not kept any more.'],
  owner_lost: [502, 'The server that ran Claude Code is gone.'],

  // The request could not have its turn.
  queue_full: [429, 'Too many requests are waiting; try again later.'],
  queue_timeout: [503, 'The request waited too long for its turn; try again later.'],

  // The process could not be started.
  command_not_found: [500, 'Claude Code is not installed on this server.'],
  cwd_not_found: [500, 'The working directory for Claude Code does not exist on this server.'],
  spawn_failed: [503, 'Claude Code could not be started on this server.'],
  shutting_down: [503, 'The server is shutting down.'],

  // Claude Code answered with an error.
  not_logged_in: [500, 'Claude Code is not logged in on this server.'],
  billing: [402, 'The Claude account has a billing problem.'],
  rate_limited: [429, 'Claude is rate limited; try again later.'],
  overloaded: [503, 'Claude is overloaded; try again later.'],
  prompt_too_long: [400, 'The conversation is too long for the model.'],
  request_rejected: [400, 'The Claude API rejected the request.'],
  refused: [400, 'Claude refused to answer.'],
  max_turns: [422, 'Claude stopped at the maximum number of turns.'],
  max_budget: [422, 'Claude stopped at the maximum budget.'],
  max_output_tokens: [422, 'The answer exceeded the maximum number of output tokens.'],
  schema_not_met: [502, 'Claude did not answer in the format that was asked for.'],
  session_not_found: [404, 'The session does not exist.'],
  claude_error: [502, 'Claude Code reported an error.'],

  // The run ended without an answer.
  interrupted: [503, 'The run was interrupted.'],
  cancelled: [410, 'The run was cancelled.'],
  first_message_timeout: [504, 'Claude Code did not answer in time.'],
  idle_timeout: [504, 'Claude Code went silent for too long.'],
  total_timeout: [504, 'Claude Code took too long.'],
  crashed: [502, 'Claude Code ended without an answer.'],

  // The list of models could not be had.
  models_unavailable: [503, 'The models are not known yet; try again later.'],

  // The application's own code threw.
  hook_failed: [500, 'The server failed.'],
} as const satisfies Record<string, readonly [status: number, publicMessage: string]>;

/** The closed set of error codes; the README says of each what to do about it. */
export type ErrorCode = keyof typeof errors;

/** Every error code, for tests and tables. */
export const errorCodes = Object.keys(errors) as ErrorCode[];

/** The HTTP status of a code while the headers are not yet sent. */
export function statusOf(code: ErrorCode): number {
  return errors[code][0];
}

/** The sentence a client may read about a code. */
export function publicMessageOf(code: ErrorCode): string {
  return errors[code][1];
}

/**
 * An error of this library.
 *
 * `message` is written for the operator and may name paths and stderr; `publicMessage` is what a client is shown.
 * For a status below 500 the fault is in the request, and the two are the same. `status` and `expose` follow the
 * convention of `http-errors`, so that Express's own error handler does the right thing too.
 */
export class ClaudeStreamError extends Error {
  override readonly name = 'ClaudeStreamError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly expose: boolean;
  readonly publicMessage: string;
  /** The field of the request that is wrong, such as `messages[2].content`, if it is one. */
  readonly field: string | undefined;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions & { field?: string }) {
    super(message, options);
    this.code = code;
    this.field = options?.field;
    this.status = statusOf(code);
    this.expose = this.status < 500;
    this.publicMessage = this.expose ? message : publicMessageOf(code);
  }
}
