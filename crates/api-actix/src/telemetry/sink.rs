//! Output that never blocks its caller: a bounded queue, and a thread that writes.
//!
//! A pipe without a reader, a stopped terminal and a slow disk all block `write`. A thread that serves requests must not wait for them,
//! and neither must the end of the process.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The size of a queue: some ten thousand log lines, a second of a busy server.
pub const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A queue of output. Clones share it.
#[derive(Clone)]
pub struct Sink(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Notified when there is something to write.
    filled: Condvar,
    /// Notified when everything is written.
    emptied: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// Of the queued lines and of those that are being written.
    bytes: usize,
    /// Lines dropped since the start.
    dropped: u64,
    /// Lines dropped and not reported yet.
    unreported: u64,
}

impl Sink {
    /// Starts a thread that writes to `output` and holds at most `bytes_max` bytes that are not written yet. After lines were dropped it
    /// calls `report` with their number, once `output` accepts bytes again.
    pub fn start(
        name: &str,
        output: impl Write + Send + 'static,
        bytes_max: usize,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new(), bytes_max });
        let worker = Arc::clone(&shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || worker.write_lines(output, report))?;
        Ok(Self(shared))
    }

    /// Queues a line, or drops and counts it if the queue is full. Never waits for the output.
    pub fn push(&self, line: Vec<u8>) {
        let mut queue = self.0.lock();
        if queue.bytes.saturating_add(line.len()) > self.0.bytes_max {
            queue.drop_lines(1);
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Returns the number of lines that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }

    /// Waits until everything is written, at most for `patience`. Returns whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut queue = self.0.lock();
        while queue.bytes > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.0.emptied.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Queue {
    fn drop_lines(&mut self, lines: u64) {
        self.dropped += lines;
        self.unreported += lines;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes for as long as the process lives.
    fn write_lines(&self, mut output: impl Write, report: impl Fn(u64)) {
        loop {
            let mut queue = self.lock();
            while queue.lines.is_empty() {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let lines = std::mem::take(&mut queue.lines);
            drop(queue);
            // One system call for everything that has queued up meanwhile.
            let text: Vec<u8> = lines.iter().flatten().copied().collect();
            let written = output.write_all(&text).and_then(|()| output.flush());
            let mut queue = self.lock();
            let lost = match written {
                Ok(()) => std::mem::take(&mut queue.unreported),
                // No report: it would fail as well, and be dropped and reported in turn.
                Err(_) => {
                    queue.drop_lines(u64::try_from(lines.len()).unwrap_or(u64::MAX));
                    0
                }
            };
            queue.bytes = queue.bytes.saturating_sub(text.len());
            let is_empty = queue.bytes == 0;
            drop(queue);
            if lost > 0 {
                report(lost);
            }
            if is_empty {
                // The report may have been queued here meanwhile: a waiting thread checks again.
                self.emptied.notify_all();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Output that accepts one write for each message, and fails where the message says so.
    struct Gate {
        accepts: Receiver<bool>,
        written: Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.accepts.recv() != Ok(true) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Gated {
        sink: Sink,
        accept: Sender<bool>,
        written: Receiver<String>,
        reports: Receiver<u64>,
    }

    fn gated(bytes_max: usize) -> Gated {
        let ((accept, accepts), (write, written), (report, reports)) = (channel(), channel(), channel());
        let gate = Gate { accepts, written: write };
        let sink = Sink::start("test-sink", gate, bytes_max, move |lines| report.send(lines).unwrap()).unwrap();
        Gated { sink, accept, written, reports }
    }

    #[test]
    fn blocked_output_blocks_no_caller_and_dropped_lines_are_reported_when_it_moves() {
        let Gated { sink, accept, written, reports } = gated(8);
        for _ in 0..5 {
            sink.push(b"abc\n".to_vec());
        }
        assert_eq!(sink.dropped(), 3);
        assert!(!sink.flush(Duration::from_millis(1)), "nothing is written yet");
        // The first write has one line or two, by how fast the thread was.
        accept.send(true).unwrap();
        accept.send(true).unwrap();
        assert_eq!(reports.recv_timeout(PATIENCE), Ok(3));
        sink.push(b"end\n".to_vec());
        accept.send(true).unwrap();
        let mut text = String::new();
        while !text.ends_with("end\n") {
            text += &written.recv_timeout(PATIENCE).unwrap();
        }
        assert_eq!(text, "abc\nabc\nend\n");
        assert!(sink.flush(PATIENCE));
        assert_eq!(sink.dropped(), 3);
        assert!(reports.try_recv().is_err(), "reported once");
    }

    #[test]
    fn output_that_fails_counts_its_lines_and_reports_them_after_the_next_success() {
        let Gated { sink, accept, written, reports } = gated(100);
        sink.push(b"lost\n".to_vec());
        accept.send(false).unwrap();
        assert!(sink.flush(PATIENCE), "a failed write does not stay in the queue");
        assert_eq!(sink.dropped(), 1);
        assert!(reports.try_recv().is_err());
        sink.push(b"kept\n".to_vec());
        accept.send(true).unwrap();
        assert_eq!(written.recv_timeout(PATIENCE).unwrap(), "kept\n");
        assert_eq!(reports.recv_timeout(PATIENCE), Ok(1));
    }
}
