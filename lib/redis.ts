export type { SendCommand } from './stores/redis/connection.js';
export { type RedisStoreOptions, redisStore } from './stores/redis/redisStore.js';
