//! Counts of tries that servers share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::StoreError;
use domain::clock::Clock;
use domain::limits::{Allowance, Limit, RateLimiter, Tally, TryCounter};
use domain::random::{OperationId, Random};
use fred::interfaces::LuaInterface as _;
use fred::types::Value;

use crate::connection::Redis;
use crate::seal::{Mac, ServerKey, bytes_of_hex};

/// The maximum number of servers' counts of one name that are read. More counts must be forged, so all of them are deleted.
const SERVERS_MAX: usize = 128;
/// The length of a server's id, and the maximum length of its count. Others are ignored.
const SERVER_CHARACTERS: usize = 32;
const COUNT_CHARACTERS_MAX: usize = 160;

/// Writes this server's count unless a later one is stored, and reads the counts of all servers: one key, atomically.
///
/// `KEYS[1]`: the name. `ARGV`: this server, its count, the count's number, the minimum lifetime of the key (milliseconds), the maximum
/// number of servers, the length of a server's id, the maximum length of a count.
const PUBLISH: &str = "
local kind = redis.call('TYPE', KEYS[1]).ok
if (kind ~= 'hash' and kind ~= 'none') or (kind == 'hash' and redis.call('HLEN', KEYS[1]) > tonumber(ARGV[5])) then
  redis.call('DEL', KEYS[1])
end
local written = redis.call('HGET', KEYS[1], ARGV[1])
local change = tonumber(string.match(written or '', '^%d+') or '0')
if change < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local all = redis.call('HGETALL', KEYS[1])
local fit = {}
for at = 1, #all, 2 do
  if #all[at] == tonumber(ARGV[6]) and #all[at + 1] <= tonumber(ARGV[7]) then
    fit[#fit + 1] = all[at]
    fit[#fit + 1] = all[at + 1]
  end
end
return fit
";

/// Counts tries by name for all servers that have the same secret and the same Redis.
///
/// Each server counts for itself, in its own windows, and publishes its count of each name: the number of tries that it has allowed in the
/// live window, the end of the window, and a MAC over these, the name and the server. A try is allowed if the sum of this server's count
/// and the valid counts of the others is within the limit. A refused try is taken back, so that it does not prolong the refusal.
///
/// A malicious Redis can hide the counts of the others or return old ones; then the count of each server still applies. It cannot forge
/// counts, so it cannot cause false rejections. Without Redis, each server counts for itself. Windows are compared by the servers' calendar
/// clocks: a server whose clock is a second behind accepts the counts of others for a second longer.
pub struct RedisRateLimiter {
    redis: Arc<Redis>,
    key: ServerKey,
    own: Arc<dyn TryCounter>,
    clock: Arc<dyn Clock>,
    server: String,
}

/// The count of another server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Share {
    tries: u32,
    resets_in: Duration,
}

impl RedisRateLimiter {
    /// Shares the counts of `own`.
    pub fn new(
        redis: Arc<Redis>,
        key: ServerKey,
        own: Arc<dyn TryCounter>,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
    ) -> Self {
        let server = format!("{:?}", OperationId::draw(random));
        Self { redis, key, own, clock, server }
    }

    /// Publishes this server's count and returns the counts of the other servers. Empty if Redis does not respond.
    async fn publish(&self, name: &str, own: Tally, window: Duration) -> Vec<Share> {
        let now = self.clock.now().timestamp_millis();
        let ends = now.saturating_add(millis(own.resets_in));
        let mac = self.mac(name, &self.server, own.change, own.tries, ends).hex();
        let count = format!("{} {} {ends} {mac}", own.change, own.tries);
        let key = format!("movie-booking:tries:{}", self.key.mac("tries name").text(name.as_bytes()).hex());
        let arguments = [
            self.server.clone(),
            count,
            own.change.to_string(),
            millis(window).to_string(),
            SERVERS_MAX.to_string(),
            SERVER_CHARACTERS.to_string(),
            COUNT_CHARACTERS_MAX.to_string(),
        ];
        let answer =
            self.redis.call(async |client| client.eval::<Value, _, _, _>(PUBLISH, key, arguments.to_vec()).await);
        let Ok(Value::Array(fields)) = answer.await else { return Vec::new() };
        let (pairs, _) = fields.as_chunks::<2>();
        pairs
            .iter()
            .take(SERVERS_MAX + 1)
            .filter_map(|[server, count]| self.share(name, server, count, now, window))
            .collect()
    }

    /// Parses the count of another server. Returns `None` if it is invalid, expired or this server's own.
    fn share(&self, name: &str, server: &Value, count: &Value, now: i64, window: Duration) -> Option<Share> {
        let (server, count) = (server.as_str()?, count.as_str()?);
        if *server == self.server {
            return None;
        }
        let mut parts = count.split(' ');
        let (change, tries) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (ends, mac) = (parts.next()?.parse().ok()?, bytes_of_hex(parts.next()?)?);
        let is_whole = parts.next().is_none() && self.mac(name, &server, change, tries, ends).is(&mac);
        let rest = u64::try_from(ends.checked_sub(now)?).ok().filter(|rest| *rest > 0)?;
        is_whole.then(|| Share { tries, resets_in: Duration::from_millis(rest).min(window) })
    }

    fn mac(&self, name: &str, server: &str, change: u64, tries: u32, ends: i64) -> Mac {
        let mac = self.key.mac("tries").text(name.as_bytes()).text(server.as_bytes());
        mac.text(&change.to_be_bytes()).number(tries.into()).number(ends)
    }
}

#[async_trait]
impl RateLimiter for RedisRateLimiter {
    async fn count(&self, name: &str, limit: Limit) -> Result<Allowance, StoreError> {
        let own = self.own.add(name, limit.window).await;
        if own.tries > limit.tries {
            self.own.subtract(name).await;
            return Ok(Allowance::of(limit, own.tries, own.resets_in));
        }
        let mut shares = self.publish(name, own, limit.window).await;
        let tries = shares.iter().fold(own.tries, |sum, share| sum.saturating_add(share.tries));
        if tries <= limit.tries {
            return Ok(Allowance::of(limit, tries, own.resets_in));
        }
        self.take_back(name).await?;
        shares.push(Share { tries: own.tries.saturating_sub(1), resets_in: own.resets_in });
        Ok(Allowance::of(limit, tries, resets_in(limit, shares)))
    }

    async fn take_back(&self, name: &str) -> Result<(), StoreError> {
        if let Some(own) = self.own.subtract(name).await {
            self.publish(name, own, own.resets_in).await;
        }
        Ok(())
    }
}

/// Returns the time until enough of the windows have ended that a try is allowed.
fn resets_in(limit: Limit, mut shares: Vec<Share>) -> Duration {
    shares.sort_unstable_by_key(|share| share.resets_in);
    let mut tries = shares.iter().fold(0_u32, |sum, share| sum.saturating_add(share.tries));
    for share in &shares {
        tries = tries.saturating_sub(share.tries);
        if tries < limit.tries {
            return share.resets_in;
        }
    }
    limit.window
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_allowed_again_once_enough_windows_have_ended() {
        let limit = Limit { tries: 3, window: Duration::from_secs(60) };
        let share = |tries, seconds| Share { tries, resets_in: Duration::from_secs(seconds) };
        for (shares, expected) in [
            (vec![share(3, 50), share(0, 60)], 50),
            (vec![share(0, 10), share(3, 50)], 50),
            (vec![share(2, 30), share(1, 20)], 20),
            (vec![share(2, 30), share(4, 20)], 20),
            (vec![share(4, 30), share(4, 20)], 30),
        ] {
            assert_eq!(resets_in(limit, shares.clone()), Duration::from_secs(expected), "{shares:?}");
        }
        assert_eq!(resets_in(Limit { tries: 0, ..limit }, vec![share(0, 10)]), limit.window);
    }
}
