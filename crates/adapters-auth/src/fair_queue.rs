//! A bounded queue that takes turns between networks, and within a network between accounts.

use std::collections::VecDeque;

use domain::identity::Requester;
use domain::limits::ClientNetwork;

/// Entries that wait, by who they are for.
///
/// The next entry is the oldest of the account whose turn it is, of the network whose turn it is; both then go to the end of their
/// line. An entry of a network with few entries thus waits behind few, however many others have: with the entries a1 a2 a3 of one
/// network and then b1 of another, the order is a1 b1 a2 a3.
///
/// There are few entries, so lines are searched from end to end.
pub(crate) struct FairQueue<T> {
    networks: VecDeque<NetworkLine<T>>,
    length: usize,
    length_max: usize,
    last_ticket: u64,
}

/// A place in the queue, to leave it by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    requester: Requester,
    number: u64,
}

struct NetworkLine<T> {
    network: ClientNetwork,
    accounts: VecDeque<AccountLine<T>>,
}

struct AccountLine<T> {
    account: String,
    entries: VecDeque<(u64, T)>,
}

impl<T> NetworkLine<T> {
    fn length(&self) -> usize {
        self.accounts.iter().map(|line| line.entries.len()).sum()
    }
}

impl<T> FairQueue<T> {
    /// A queue of at most `length_max` entries.
    pub fn new(length_max: usize) -> Self {
        Self { networks: VecDeque::new(), length: 0, length_max, last_ticket: 0 }
    }

    /// Returns how many entries wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Adds an entry. If that is one too many, returns the newest entry of the account with the most, of the network with the most:
    /// maybe the one that was added.
    pub fn push(&mut self, requester: &Requester, entry: T) -> (Ticket, Option<T>) {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = Ticket { requester: requester.clone(), number: self.last_ticket };
        let line = match self.networks.iter().position(|line| line.network == requester.network) {
            Some(at) => self.networks.get_mut(at),
            None => {
                self.networks.push_back(NetworkLine { network: requester.network, accounts: VecDeque::new() });
                self.networks.back_mut()
            }
        };
        if let Some(NetworkLine { accounts, .. }) = line {
            match accounts.iter_mut().find(|line| line.account == requester.account) {
                Some(line) => line.entries.push_back((ticket.number, entry)),
                None => {
                    let entries = VecDeque::from([(ticket.number, entry)]);
                    accounts.push_back(AccountLine { account: requester.account.clone(), entries });
                }
            }
            self.length += 1;
        }
        let evicted = if self.length > self.length_max { self.evict() } else { None };
        (ticket, evicted)
    }

    /// Removes the next entry.
    pub fn pop(&mut self) -> Option<T> {
        let mut network = self.networks.pop_front()?;
        let mut account = network.accounts.pop_front()?;
        let (_, entry) = account.entries.pop_front()?;
        if !account.entries.is_empty() {
            network.accounts.push_back(account);
        }
        if !network.accounts.is_empty() {
            self.networks.push_back(network);
        }
        self.length -= 1;
        Some(entry)
    }

    /// Removes the entry of a ticket, if it still waits.
    pub fn remove(&mut self, ticket: &Ticket) -> Option<T> {
        let Requester { network, account } = &ticket.requester;
        let at_network = self.networks.iter().position(|line| line.network == *network)?;
        let accounts = &self.networks.get(at_network)?.accounts;
        let at_account = accounts.iter().position(|line| line.account == *account)?;
        let entries = &accounts.get(at_account)?.entries;
        let at = entries.iter().position(|(number, _)| *number == ticket.number)?;
        self.take(at_network, at_account, at)
    }

    /// Removes the newest entry of the longest line. Of lines of one length it is that whose turn comes last.
    fn evict(&mut self) -> Option<T> {
        let (at_network, network) = self.networks.iter().enumerate().max_by_key(|(_, line)| line.length())?;
        let (at_account, account) = network.accounts.iter().enumerate().max_by_key(|(_, line)| line.entries.len())?;
        let newest = account.entries.len().checked_sub(1)?;
        self.take(at_network, at_account, newest)
    }

    fn take(&mut self, at_network: usize, at_account: usize, at: usize) -> Option<T> {
        let network = self.networks.get_mut(at_network)?;
        let account = network.accounts.get_mut(at_account)?;
        let (_, entry) = account.entries.remove(at)?;
        if account.entries.is_empty() {
            network.accounts.remove(at_account);
        }
        if network.accounts.is_empty() {
            self.networks.remove(at_network);
        }
        self.length -= 1;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A caller by the last byte of its address.
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
        // Its own line is the longest with it.
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
        assert!(queue.networks.is_empty());
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
}
