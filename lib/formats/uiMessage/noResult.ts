import { publicMessageOf } from '../../errors.js';

/** What a tool that has not ended has said: every tool of a message must have an output. */
export const NO_RESULT = publicMessageOf('interrupted');
