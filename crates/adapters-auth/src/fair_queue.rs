//! A bounded queue that is fair between the networks of its callers and, within a network, between accounts.

use std::collections::VecDeque;
use std::net::Ipv6Addr;

use domain::identity::Requester;
use domain::limits::ClientNetwork;

/// Waiting entries, grouped by site, then network, then account.
///
/// The next entry is the oldest of the account whose turn it is, in the network whose turn it is, in the site whose turn it is; each of
/// these then moves to the end of its line. So an entry of a network with few entries waits for few others, however many entries other
/// networks have. For example, with the entries a1 a2 a3 of one network and then b1 of another, the order is a1 b1 a2 a3.
///
/// A site is an IPv4 address or an IPv6 /48, which is what a provider may assign to one customer. Otherwise a customer with 65 536 networks
/// would have as many turns.
pub(crate) struct FairQueue<T> {
    sites: Line<T>,
    length_max: usize,
    last_number: u64,
}

/// Identifies an entry, to remove it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    path: [Part; 3],
    number: u64,
}

/// The key of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Network(ClientNetwork),
    Account(String),
}

/// A line of lines; at the end of a path, a line of entries. The number of entries is small, so lines are searched sequentially.
struct Line<T> {
    length: usize,
    lines: VecDeque<(Part, Line<T>)>,
    entries: VecDeque<(u64, T)>,
}

impl<T> FairQueue<T> {
    /// Returns a queue of at most `length_max` entries.
    pub fn new(length_max: usize) -> Self {
        Self { sites: Line::new(), length_max, last_number: 0 }
    }

    /// Returns the number of waiting entries.
    pub fn len(&self) -> usize {
        self.sites.length
    }

    /// Adds an entry. If the queue is full, removes and returns the newest entry of the account with the most entries, in the network with
    /// the most, in the site with the most. This may be the entry that was added.
    pub fn push(&mut self, requester: &Requester, entry: T) -> (Ticket, Option<T>) {
        self.last_number = self.last_number.wrapping_add(1);
        let path = path(requester);
        self.sites.push(&path, self.last_number, entry);
        let ticket = Ticket { path, number: self.last_number };
        let evicted = if self.sites.length > self.length_max { self.sites.evict() } else { None };
        (ticket, evicted)
    }

    /// Removes and returns the next entry.
    pub fn pop(&mut self) -> Option<T> {
        self.sites.pop()
    }

    /// Removes and returns the entry of a ticket, if it still waits.
    pub fn remove(&mut self, ticket: &Ticket) -> Option<T> {
        self.sites.remove(&ticket.path, ticket.number)
    }
}

fn path(requester: &Requester) -> [Part; 3] {
    let Requester { network, account } = requester;
    let site = match network {
        ClientNetwork::V6(address) => {
            let [a, b, c, ..] = address.segments();
            ClientNetwork::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
        other => *other,
    };
    [Part::Network(site), Part::Network(*network), Part::Account(account.clone())]
}

impl<T> Line<T> {
    fn new() -> Self {
        Self { length: 0, lines: VecDeque::new(), entries: VecDeque::new() }
    }

    fn push(&mut self, path: &[Part], number: u64, entry: T) {
        self.length += 1;
        let Some((part, rest)) = path.split_first() else { return self.entries.push_back((number, entry)) };
        if let Some((_, line)) = self.lines.iter_mut().find(|(other, _)| other == part) {
            return line.push(rest, number, entry);
        }
        let mut line = Self::new();
        line.push(rest, number, entry);
        self.lines.push_back((part.clone(), line));
    }

    /// Removes the oldest entry of the first line and moves that line to the end.
    fn pop(&mut self) -> Option<T> {
        let entry = match self.entries.pop_front() {
            Some((_, entry)) => entry,
            None => {
                let (part, mut line) = self.lines.pop_front()?;
                let entry = line.pop()?;
                if line.length > 0 {
                    self.lines.push_back((part, line));
                }
                entry
            }
        };
        self.length -= 1;
        Some(entry)
    }

    /// Removes the newest entry of the longest line. Of lines of equal length, this is the one whose turn comes last.
    fn evict(&mut self) -> Option<T> {
        let longest = self.lines.iter().enumerate().max_by_key(|(_, (_, line))| line.length).map(|(at, _)| at);
        let entry = match longest {
            Some(at) => self.take_from(at, Self::evict)?,
            None => self.entries.pop_back()?.1,
        };
        self.length -= 1;
        Some(entry)
    }

    fn remove(&mut self, path: &[Part], number: u64) -> Option<T> {
        let entry = match path.split_first() {
            Some((part, rest)) => {
                let at = self.lines.iter().position(|(other, _)| other == part)?;
                self.take_from(at, |line| line.remove(rest, number))?
            }
            None => {
                let at = self.entries.iter().position(|(other, _)| *other == number)?;
                self.entries.remove(at)?.1
            }
        };
        self.length -= 1;
        Some(entry)
    }

    /// Takes an entry from one of the lines, and removes the line if it is then empty.
    fn take_from(&mut self, at: usize, take: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let (_, line) = self.lines.get_mut(at)?;
        let entry = take(line)?;
        if line.length == 0 {
            self.lines.remove(at);
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a caller whose address ends in this byte.
    fn caller(network: u8, account: &str) -> Requester {
        Requester { network: ClientNetwork::V4([192, 0, 2, network].into()), account: account.to_owned() }
    }

    fn drain(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    fn queue_of(entries: &[(u8, &str, &'static str)]) -> FairQueue<&'static str> {
        let mut queue = FairQueue::new(entries.len());
        for (network, account, entry) in entries {
            assert_eq!(queue.push(&caller(*network, account), *entry).1, None);
        }
        queue
    }

    #[test]
    fn networks_take_turns() {
        let mut queue =
            queue_of(&[(1, "x", "a1"), (1, "x", "a2"), (1, "x", "a3"), (2, "y", "b1"), (3, "z", "c1"), (2, "y", "b2")]);
        assert_eq!(drain(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn accounts_of_a_network_take_turns() {
        let mut queue = queue_of(&[(1, "x", "x1"), (1, "x", "x2"), (1, "x", "x3"), (1, "y", "y1"), (2, "x", "b1")]);
        assert_eq!(drain(&mut queue), ["x1", "b1", "y1", "x2", "x3"]);
    }

    #[test]
    fn full_queue_gives_up_the_newest_entry_of_the_longest_line() {
        let mut queue = queue_of(&[(1, "x", "a1"), (1, "x", "a2"), (1, "y", "a3"), (2, "z", "b1")]);
        assert_eq!(queue.push(&caller(3, "w"), "c1").1, Some("a2"));
        // With the new entry, its own line is the longest.
        assert_eq!(queue.push(&caller(1, "y"), "a4").1, Some("a4"));
        assert_eq!(queue.len(), 4);
        assert_eq!(drain(&mut queue), ["a1", "b1", "c1", "a3"]);
    }

    #[test]
    fn queue_without_room_gives_up_what_is_added() {
        let mut queue = FairQueue::new(0);
        assert_eq!(queue.push(&caller(1, "x"), "a1").1, Some("a1"));
        assert_eq!((queue.len(), queue.pop()), (0, None));
    }

    #[test]
    fn entry_leaves_by_its_ticket_once() {
        let mut queue = FairQueue::new(9);
        let (first, _) = queue.push(&caller(1, "x"), "a1");
        let (second, _) = queue.push(&caller(1, "x"), "a2");
        let (third, _) = queue.push(&caller(2, "x"), "b1");
        assert_eq!(queue.remove(&first), Some("a1"));
        assert_eq!(queue.remove(&first), None);
        assert_eq!((queue.pop(), queue.remove(&second)), (Some("a2"), None));
        assert_eq!((queue.remove(&third), queue.len()), (Some("b1"), 0));
        assert!(queue.sites.lines.is_empty());
    }

    #[test]
    fn entry_of_an_idle_network_waits_behind_one_of_each_other_network() {
        let mut queue = FairQueue::new(64);
        for number in 0..400_u16 {
            let network = u8::try_from(number % 4).unwrap();
            queue.push(&caller(network, &number.to_string()), "flood");
        }
        assert_eq!(queue.len(), 64);
        queue.push(&caller(9, "ana"), "honest");
        assert_eq!(queue.len(), 64);
        let before = drain(&mut queue).iter().position(|entry| *entry == "honest");
        assert_eq!(before, Some(4));
    }

    #[test]
    fn networks_of_an_ipv6_48_take_the_turns_of_one_site() {
        let network = |network: u16| Requester {
            network: ClientNetwork::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, network, 0, 0, 0, 0)),
            account: network.to_string(),
        };
        let mut queue = FairQueue::new(64);
        for number in 0..400 {
            queue.push(&network(number), "flood");
        }
        let honest = caller(9, "ana");
        assert_eq!(queue.push(&honest, "honest").1, Some("flood"));
        let before = drain(&mut queue).iter().position(|entry| *entry == "honest");
        assert_eq!(before, Some(1));
    }
}
