/**
 * What has to happen in Redis in one step. A frame is one entry of a stream, its id `<number>-0`, its field `frame`;
 * the end is the entry `<number of the last frame>-1` with the fields `end` and `by`.
 */

/**
 * Writes frames, and the end if there is one, unless they are there.
 *
 * KEYS: frames, owner. ARGV: number of the first, number of the first to be kept, ttl in ms, by whom, end or '', '1' to
 * conclude the run of an owner that is gone, then the frames. Returns 1 when they are there, 0 when somebody else has
 * ended the run.
 */
export const WRITE = `
local key, first, conclude = KEYS[1], tonumber(ARGV[1]), ARGV[6] == '1'
local last = first + #ARGV - 7
local top = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
if conclude and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if top then
  if top[2][1] == 'end' then
    if top[2][4] == ARGV[4] and not conclude then return 1 end
    return 0
  end
  if tonumber(string.match(top[1], '^%d+')) >= first then
    if conclude then return 0 end
    return 1
  end
end
for i = 7, #ARGV do
  redis.call('XADD', key, string.format('%.0f-0', first + i - 7), 'frame', ARGV[i])
end
redis.call('XTRIM', key, 'MINID', ARGV[2])
if ARGV[5] ~= '' then
  redis.call('XADD', key, string.format('%.0f-1', last), 'end', ARGV[5], 'by', ARGV[4])
  redis.call('DEL', KEYS[2])
end
redis.call('PEXPIRE', key, ARGV[3])
return 1`;

/**
 * The owner is alive.
 *
 * KEYS: owner, record, frames, index. ARGV: instance, lease in ms, record, how long the record is kept in ms, ttl of the
 * frames in ms, score and member of the index, the score below which the frames of a member have expired.
 */
export const BEAT = `
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
redis.call('ZADD', KEYS[4], ARGV[6], ARGV[7])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', '(' .. ARGV[8])
return 1`;

/** KEYS: record, frames, owner. Returns the record, the id of the last entry, the end and whether there is an owner. */
export const FIND = `
local record = redis.call('GET', KEYS[1])
if not record then return {} end
local top = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local ending = ''
if top and top[2][1] == 'end' then ending = top[2][2] end
return {record, top and top[1] or '', ending, redis.call('EXISTS', KEYS[3])}`;
