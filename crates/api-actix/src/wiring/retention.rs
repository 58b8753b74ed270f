//! Sweeps periodically while the server runs. [`domain::retention`] says how long things are kept.

use std::error::Error as _;
use std::time::Duration;

use domain::random::Random;
use domain::retention::{RetentionService, Swept};
use tokio::task::JoinHandle;

/// When the first run is: soon, but not in the way of the first requests.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// How long it is from one run to the next.
const EVERY: Duration = Duration::from_secs(600);

/// Sweeps until it is aborted. Several servers may do so at once; a run that fails is made up for by the next one.
pub fn keep_swept<R: Random + 'static>(service: RetentionService, random: R) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::time::sleep(FIRST_AFTER).await;
        loop {
            service.run().await.iter().for_each(tell);
            // Up to a minute more, so that servers that were started together don't all come at once for ever.
            let mut jitter = [0];
            random.fill(&mut jitter);
            tokio::time::sleep(EVERY + Duration::from_secs(60) * u32::from(jitter[0]) / 256).await;
        }
    })
}

fn tell(Swept { what, rows, failure }: &Swept) {
    let what = what.as_str();
    match failure {
        Some(error) => {
            let cause = error.source().map(tracing::field::display);
            tracing::warn!(what, rows, %error, cause, "retention.not_swept");
        }
        None if *rows > 0 => tracing::info!(what, rows, "retention.swept"),
        None => tracing::debug!(what, "retention.nothing_to_sweep"),
    }
}
