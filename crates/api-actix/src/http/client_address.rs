//! The address that a request comes from: the peer, or what trusted proxies say in `X-Forwarded-For`; and warnings about proxies
//! whose word is not taken, because then all their clients share one caller's limits.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net};

/// The header that is read. Others say the same, but a client can send those past a proxy that does not set them.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers by which a proxy passes on an address, and that are not read.
const UNREAD: [HeaderName; 2] = [HeaderName::from_static("forwarded"), HeaderName::from_static("x-real-ip")];
/// How long a warning stands after the last request that gave rise to it, and how often it is logged.
const WARN_EVERY: Duration = Duration::from_secs(3600);
/// The maximum number of proxies with a warning. With more of them, the cause is one wrong setting.
const WARNINGS_MAX: usize = 8;

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Parses addresses and networks, separated by commas. IPv4 inside IPv6 (`::ffff:10.0.0.0/104`) is that IPv4; bits beyond
    /// the prefix are ignored. `None` if a part is neither, or a mapped network reaches beyond IPv4.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(parse_network).collect::<Option<_>>().map(Self)
    }

    /// Returns whether an address is a trusted proxy's.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn parse_network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    let IpNet::V6(v6) = network else { return Some(network.trunc()) };
    match v6.addr().to_ipv4_mapped() {
        None => Some(network.trunc()),
        // `::ffff:10.0.0.0/8` means 10.0.0.0/8 to its author, and a part of IPv6 that no peer is in to everybody else.
        Some(v4) => Ipv4Net::new(v4, v6.prefix_len().checked_sub(96)?).ok().map(|v4| IpNet::V4(v4.trunc())),
    }
}

/// The source of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// The client's address, as far as trusted proxies tell.
    pub address: IpAddr,
    /// A proxy whose clients are all taken for one, and what is wrong with it.
    pub defect: Option<(IpAddr, ProxyDefect)>,
}

/// Why the clients of a proxy are taken for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyDefect {
    /// It passes on an address, but is not trusted.
    Untrusted,
    /// It is trusted, but passes on the address in a header that is not read.
    OtherHeader,
}

/// Works out where a request comes from. `X-Forwarded-For` is read from its end, as long as the address so far is a trusted
/// proxy's; an element that is no address ends the walk at the last trusted proxy, since all before it may be made up.
///
/// Trusting 10.0.0.0/8, the peer 10.0.0.1 with `1.1.1.1, 198.51.100.7, 10.0.0.2` is 198.51.100.7: 10.0.0.2 is a proxy too, and
/// whether 1.1.1.1 is true only 198.51.100.7 knows.
pub fn source(peer: SocketAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> Source {
    let mut address = peer.ip().to_canonical();
    let mut is_passed_on = false;
    let mut lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).collect();
    lines.reverse();
    let elements = lines.iter().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    // Empty elements of a list mean nothing (RFC 9110, 5.6.1.2).
    for element in elements.filter(|element| !element.is_empty()) {
        is_passed_on = true;
        if !trusted.contains(address) {
            return Source { address, defect: is_inside(address).then_some((address, ProxyDefect::Untrusted)) };
        }
        let Some(next) = std::str::from_utf8(element).ok().and_then(parse_element) else {
            return Source { address, defect: None };
        };
        address = next;
    }
    let defect = || {
        if is_passed_on || !UNREAD.iter().any(|name| headers.contains_key(name)) {
            return None;
        }
        match trusted.contains(address) {
            true => Some(ProxyDefect::OtherHeader),
            false => is_inside(address).then_some(ProxyDefect::Untrusted),
        }
    };
    Source { address, defect: defect().map(|defect| (address, defect)) }
}

/// Parses an address, with or without a port, a zone or brackets: `192.0.2.1:4711`, `[fe80::1%eth0]:443`.
fn parse_element(text: &str) -> Option<IpAddr> {
    let is_port = |text: &str| (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let parse_v6 = |text: &str| {
        let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
        let address = address.parse().ok().map(IpAddr::V6)?;
        zone.is_none_or(|zone| !zone.is_empty()).then(|| address.to_canonical())
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return parse_v6(address).filter(|_| fits);
    }
    match text.split_once(':') {
        Some((address, port)) if is_port(port) && !address.is_empty() => address.parse().ok().map(IpAddr::V4),
        Some(_) => parse_v6(text),
        None => text.parse().ok().map(IpAddr::V4),
    }
}

/// Returns whether an address is of this machine or of a private network, where a proxy of one's own would be.
fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // 100.64.0.0/10: shared address space, which container networks and carriers use (RFC 6598).
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Warnings about proxies whose clients are all taken for one.
#[derive(Default)]
pub struct ProxyWarnings(Mutex<BTreeMap<IpAddr, Warning>>);

/// A warning that stands.
struct Warning {
    defect: ProxyDefect,
    seen: Instant,
    logged: Instant,
}

impl ProxyWarnings {
    /// Notes a request that came by such a proxy, and logs it unless that was done within the hour.
    pub fn note(&self, proxy: IpAddr, defect: ProxyDefect) {
        if self.is_due(proxy, defect, Instant::now()) {
            let advice = sentence(proxy, defect);
            tracing::warn!(%proxy, advice, "proxy.not_believed");
        }
    }

    /// Returns the warnings that stand, one sentence each.
    pub fn sentences(&self) -> Vec<String> {
        self.standing(Instant::now())
    }

    fn is_due(&self, proxy: IpAddr, defect: ProxyDefect, now: Instant) -> bool {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(warning) = warnings.get_mut(&proxy).filter(|warning| warning.defect == defect) {
            warning.seen = now;
            let is_due = now.saturating_duration_since(warning.logged) >= WARN_EVERY;
            if is_due {
                warning.logged = now;
            }
            return is_due;
        }
        warnings.retain(|_, warning| now.saturating_duration_since(warning.seen) < WARN_EVERY);
        let has_room = warnings.len() < WARNINGS_MAX || warnings.contains_key(&proxy);
        if has_room {
            warnings.insert(proxy, Warning { defect, seen: now, logged: now });
        }
        has_room
    }

    fn standing(&self, now: Instant) -> Vec<String> {
        let warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = warnings.iter().filter(|(_, it)| now.saturating_duration_since(it.seen) < WARN_EVERY);
        standing.map(|(proxy, warning)| sentence(*proxy, warning.defect)).collect()
    }
}

fn sentence(proxy: IpAddr, defect: ProxyDefect) -> String {
    match defect {
        ProxyDefect::Untrusted => format!(
            "{proxy} forwards requests of others but is not trusted, so all its clients share the limits of one: add \
             {proxy} to TRUSTED_PROXIES, and let it set X-Forwarded-For."
        ),
        ProxyDefect::OtherHeader => format!(
            "{proxy} is a trusted proxy but sends no X-Forwarded-For, so all its clients share the limits of one: let it \
             set X-Forwarded-For; Forwarded and X-Real-IP are not read."
        ),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn found(peer: &str, values: &[(&'static str, &str)], trusted: &str) -> Source {
        source(peer.parse().unwrap(), &headers(values), &TrustedProxies::parse(trusted).unwrap())
    }

    fn address(peer: &str, forwarded: &[&str], trusted: &str) -> String {
        let values: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
        found(peer, &values, trusted).address.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = "10.0.0.0/8";
        for (peer, forwarded, expected) in [
            ("192.0.2.1:1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1:1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1:1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1:1", &["1.1.1.1", "198.51.100.7", "10.0.0.2,10.0.0.3"], "198.51.100.7"),
            ("10.0.0.1:1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("[::ffff:10.0.0.1]:1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1:1", &["198.51.100.7, ::ffff:10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1:1", &["::ffff:198.51.100.7"], "198.51.100.7"),
        ] {
            assert_eq!(address(peer, forwarded, trusted), expected, "{peer} {forwarded:?}");
        }
        assert_eq!(address("192.0.2.1:1", &["198.51.100.7"], ""), "192.0.2.1");
    }

    #[test]
    fn empty_elements_are_skipped() {
        for forwarded in [&["198.51.100.7,"][..], &["198.51.100.7 , ,"], &["198.51.100.7", ""], &[", 198.51.100.7"]] {
            assert_eq!(address("10.0.0.1:1", forwarded, "10.0.0.0/8"), "198.51.100.7", "{forwarded:?}");
        }
    }

    #[test]
    fn element_that_is_no_address_ends_the_walk_at_the_last_trusted_proxy() {
        let wrong = [
            "unknown",
            "_hidden",
            "nonsense",
            "localhost",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "[1.2.3.4]",
            "[2001:db8::1",
            "[[2001:db8::1]]",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "[2001:db8::1]:x",
            "1.2.3.4:",
            "1.2.3.4:_p",
            "1.2.3.4%eth0",
            "2001:db8::1%",
            "unix:",
            ":80",
            "\"192.0.2.1\"",
            "for=192.0.2.1",
            "é",
        ];
        for element in wrong {
            let forwarded = format!("198.51.100.7, {element}, 10.0.0.2");
            assert_eq!(address("10.0.0.1:1", &[&forwarded], "10.0.0.0/8"), "10.0.0.2", "{element}");
            assert_eq!(address("10.0.0.1:1", &["198.51.100.7", element], "10.0.0.0/8"), "10.0.0.1", "{element}");
        }
    }

    #[test]
    fn ports_brackets_and_zones_are_left_out() {
        for (element, expected) in [
            ("198.51.100.7:5678", "198.51.100.7"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:443", "fe80::1"),
            ("[::ffff:198.51.100.7]:80", "198.51.100.7"),
            ("2001:db8::443", "2001:db8::443"),
        ] {
            assert_eq!(address("10.0.0.1:1", &[element], "10.0.0.0/8"), expected, "{element}");
        }
    }

    #[test]
    fn trusted_proxies_are_read_in_any_notation() {
        for (trusted, inside, outside) in [
            ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("::ffff:10.0.0.0/104", "10.255.0.1", "11.0.0.1"),
            ("::ffff:0:0/96", "203.0.113.9", "2001:db8::1"),
            ("10.1.2.3/8", "10.9.9.9", "11.0.0.1"),
            ("2001:db8::5/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            (" 10.0.0.1 ,, ::1 ", "::1", "10.0.0.2"),
        ] {
            let proxies = TrustedProxies::parse(trusted).unwrap();
            assert!(proxies.contains(inside.parse().unwrap()), "{trusted} {inside}");
            assert!(!proxies.contains(outside.parse().unwrap()), "{trusted} {outside}");
        }
        for wrong in
            ["10.0.0.0/33", "::ffff:10.0.0.0/8", "::ffff:10.0.0.0/95", "localhost", "fe80::1%eth0", "10.0.0.1:80"]
        {
            assert_eq!(TrustedProxies::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn private_proxy_that_is_not_trusted_is_a_defect() {
        let defect = |peer: &str, values: &[(&'static str, &str)], trusted: &str| found(peer, values, trusted).defect;
        let untrusted = |proxy: &str| Some((proxy.parse().unwrap(), ProxyDefect::Untrusted));
        for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
            for peer in ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1"] {
                let found = defect(&format!("{peer}:1"), &[(name, "198.51.100.7")], "203.0.113.1");
                assert_eq!(found, untrusted(peer), "{name}");
            }
            for peer in ["::1", "fd00::1", "fe80::1"] {
                let found = defect(&format!("[{peer}]:1"), &[(name, "198.51.100.7")], "");
                assert_eq!(found, untrusted(peer), "{name}");
            }
            // Any client can send the header.
            assert_eq!(defect("198.51.100.9:1", &[(name, "198.51.100.7")], ""), None, "{name}");
        }
        assert_eq!(defect("127.0.0.1:1", &[], ""), None);
        let chain = [("x-forwarded-for", "198.51.100.7, 10.0.0.2")];
        assert_eq!(defect("127.0.0.1:1", &chain, "127.0.0.1"), untrusted("10.0.0.2"));
        assert_eq!(defect("127.0.0.1:1", &chain, "127.0.0.1, 10.0.0.2"), None);
        // A client inside, by a trusted proxy.
        assert_eq!(defect("127.0.0.1:1", &[("x-forwarded-for", "10.0.0.2")], "127.0.0.1"), None);
        let other = Some(("127.0.0.1".parse().unwrap(), ProxyDefect::OtherHeader));
        assert_eq!(defect("127.0.0.1:1", &[("forwarded", "for=198.51.100.7")], "127.0.0.1"), other);
        let both = [("x-forwarded-for", "198.51.100.7"), ("x-real-ip", "198.51.100.7")];
        assert_eq!(defect("127.0.0.1:1", &both, "127.0.0.1"), None);
    }

    #[test]
    fn proxy_warning_is_logged_once_an_hour_and_ends_an_hour_after_the_last_request() {
        let warnings = ProxyWarnings::default();
        let (proxy, began) = ("10.0.0.1".parse().unwrap(), Instant::now());
        let at = |minutes: u64| began + Duration::from_secs(60 * minutes);
        let due: Vec<_> = [0, 1, 59, 60, 61, 119, 120, 125]
            .into_iter()
            .filter(|minutes| warnings.is_due(proxy, ProxyDefect::Untrusted, at(*minutes)))
            .collect();
        assert_eq!(due, [0, 60, 120]);
        let standing = warnings.standing(at(184));
        assert!(standing.len() == 1 && standing[0].contains("add 10.0.0.1 to TRUSTED_PROXIES"), "{standing:?}");
        assert!(warnings.standing(at(185)).is_empty());
    }

    #[test]
    fn few_proxies_are_warned_about_at_once() {
        let (warnings, now) = (ProxyWarnings::default(), Instant::now());
        let due = (0..100_u8).filter(|last| warnings.is_due([10, 0, 0, *last].into(), ProxyDefect::Untrusted, now));
        assert_eq!(due.count(), WARNINGS_MAX);
        assert_eq!(warnings.standing(now).len(), WARNINGS_MAX);
    }
}
