//! The only resolver of names.
//!
//! Owns: what `/etc/hosts` says, and asking the name servers of `/etc/resolv.conf` ([`message`]).
//! Both are read at each question, so that a changed network needs no restart; nothing is kept.
//! Refuses: the system's own resolver, which a static executable cannot use, and answers nobody was
//! asked for: each question has a random number and a socket of its own.

mod message;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use message::{Answer, Query, RecordType};

/// Port of name servers.
const PORT: u16 = 53;
/// Name servers that are asked, as resolv.conf(5) has it.
const SERVERS: usize = 3;
/// How often each of them is asked.
const ROUNDS: usize = 2;
/// How long one has to answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// More than comes in a datagram to somebody who did not say that they take more (RFC 1035 section 2.3.4).
const DATAGRAM_LEN: usize = 1500;

/// Why a name has no address for us.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// It has none.
    #[error("the name {0} has no address")]
    NoAddress(String),
    /// Nobody who was asked could say.
    #[error("no name server could say the address of {0}")]
    NoAnswer(String, #[source] io::Error),
}

/// The resolver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dns {
    hosts: PathBuf,
    servers: PathBuf,
    port: u16,
}

impl Default for Dns {
    fn default() -> Self {
        Self::reading(Path::new("/etc/hosts"), Path::new("/etc/resolv.conf"), PORT)
    }
}

impl Dns {
    /// A resolver that goes by these two files, and asks servers at this port.
    pub fn reading(hosts: &Path, servers: &Path, port: u16) -> Self {
        Self { hosts: hosts.to_owned(), servers: servers.to_owned(), port }
    }

    /// All addresses of `host`, which is a name or an address itself; never an empty list. IPv4 and
    /// IPv6 take turns, so that who tries the first few tries both.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        // Never asked of others (RFC 6761 section 6.3).
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        // A file that is not there says nothing.
        let hosts = tokio::fs::read_to_string(&self.hosts).await.unwrap_or_default();
        let written = in_hosts(&hosts, host);
        if !written.is_empty() {
            return Ok(written);
        }
        let settings = tokio::fs::read_to_string(&self.servers).await.unwrap_or_default();
        let settings = Settings::read(&settings);
        let mut found = Err(DnsError::NoAddress(host.to_owned()));
        for name in settings.names(host) {
            found = self.lookup(&settings.servers, &name).await;
            if found.is_ok() {
                break;
            }
        }
        found
    }

    async fn lookup(&self, servers: &[IpAddr], name: &str) -> Result<Vec<IpAddr>, DnsError> {
        let (v4, v6) =
            tokio::join!(self.ask(servers, name, RecordType::A), self.ask(servers, name, RecordType::Aaaa),);
        let found = take_turns(v4.as_deref().unwrap_or_default(), v6.as_deref().unwrap_or_default());
        match v4.and(v6) {
            _ if !found.is_empty() => Ok(found),
            Ok(_) => Err(DnsError::NoAddress(name.to_owned())),
            Err(error) => Err(DnsError::NoAnswer(name.to_owned(), error)),
        }
    }

    async fn ask(&self, servers: &[IpAddr], name: &str, record: RecordType) -> io::Result<Vec<IpAddr>> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..ROUNDS {
            for server in servers {
                let server = SocketAddr::new(*server, self.port);
                let asking = tokio::time::timeout(ANSWER_TIME, exchange(server, name, record));
                last = match asking.await {
                    Ok(Ok(Answer::Addresses(addresses))) => return Ok(addresses),
                    Ok(Ok(Answer::NoSuchName)) => return Ok(Vec::new()),
                    Ok(Ok(Answer::Truncated | Answer::Failed)) => {
                        io::Error::other(format!("{server} answered with a failure"))
                    }
                    Ok(Err(error)) => error,
                    Err(late) => late.into(),
                };
            }
        }
        Err(last)
    }
}

async fn exchange(server: SocketAddr, name: &str, record: RecordType) -> io::Result<Answer> {
    let query = Query::new(rand::rng().random(), name, record).ok_or(io::ErrorKind::InvalidInput)?;
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    // Connected, so that the system drops what others send.
    socket.connect(server).await?;
    socket.send(query.bytes()).await?;
    let mut datagram = [0; DATAGRAM_LEN];
    loop {
        let length = socket.recv(&mut datagram).await?;
        match query.read(&datagram[..length]) {
            Some(Answer::Truncated) => return exchange_at_length(server, &query).await,
            Some(answer) => return Ok(answer),
            None => {}
        }
    }
}

/// Asks over TCP, where a message has its length before it (RFC 1035 section 4.2.2).
async fn exchange_at_length(server: SocketAddr, query: &Query) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.bytes().len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query.bytes()].concat()).await?;
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    query.read(&message).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn take_turns(first: &[IpAddr], second: &[IpAddr]) -> Vec<IpAddr> {
    let turns = first.len().max(second.len());
    (0..turns).flat_map(|turn| [first.get(turn), second.get(turn)]).flatten().copied().collect()
}

/// The addresses of a name in hosts(5).
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    text.lines().filter_map(line).collect()
}

/// What resolv.conf(5) says, as far as we go by it.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    servers: Vec<IpAddr>,
    /// Where names of one word are looked for first.
    search: Vec<String>,
}

impl Settings {
    fn read(text: &str) -> Self {
        let mut read = Self { servers: Vec::new(), search: Vec::new() };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    read.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()))
                }
                Some("search" | "domain") => {
                    read.search = words.map(|word| word.trim_end_matches('.').to_owned()).collect();
                }
                _ => {}
            }
        }
        read.servers.truncate(SERVERS);
        if read.servers.is_empty() {
            read.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        read
    }

    /// The names to ask for, in order.
    fn names(&self, host: &str) -> Vec<String> {
        let is_short = !host.contains('.');
        let below = self.search.iter().filter(|_| is_short).map(|domain| format!("{host}.{domain}"));
        below.chain([host.to_owned()]).collect()
    }
}

#[cfg(test)]
pub(in crate::net) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A name server that answers questions for IPv4 addresses by `say`, and knows no IPv6 ones;
    /// beside it, how often it was asked for IPv4 addresses.
    pub(in crate::net) async fn server(
        folder: &Path,
        say: impl Fn(&str) -> Option<Vec<Ipv4Addr>> + Send + Sync + 'static,
    ) -> (Dns, Arc<AtomicUsize>) {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let (say, asked) = (Arc::new(say), Arc::new(AtomicUsize::new(0)));
        let (answer, count) = (say.clone(), asked.clone());
        tokio::spawn(async move {
            let mut datagram = [0; 512];
            loop {
                let (length, from) = udp.recv_from(&mut datagram).await.unwrap();
                let query = &datagram[..length];
                if is_for_ipv4(query) {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                let mut message = reply(query, &*answer);
                // Somebody else is quicker, but does not know the number of the question.
                let mut forged = message.clone();
                forged[0] ^= 0xff;
                udp.send_to(&forged, from).await.unwrap();
                if message.len() > 512 {
                    message.truncate(length);
                    message[2] |= 0x02;
                    message[6..8].fill(0);
                }
                udp.send_to(&message, from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut query = vec![0; stream.read_u16().await.unwrap().into()];
                stream.read_exact(&mut query).await.unwrap();
                let message = reply(&query, &*say);
                stream.write_u16(message.len() as u16).await.unwrap();
                stream.write_all(&message).await.unwrap();
            }
        });
        let (hosts, servers) = (folder.join("hosts"), folder.join("resolv.conf"));
        std::fs::write(&hosts, "192.0.2.9 printer printer.lan # upstairs\n::1 printer\n").unwrap();
        std::fs::write(&servers, "search corp.example.\nnameserver 127.0.0.1\noptions edns0\n").unwrap();
        (Dns::reading(&hosts, &servers, address.port()), asked)
    }

    fn is_for_ipv4(query: &[u8]) -> bool {
        query[query.len() - 3] == 1
    }

    fn reply(query: &[u8], say: &impl Fn(&str) -> Option<Vec<Ipv4Addr>>) -> Vec<u8> {
        let mut labels = Vec::new();
        let mut rest = &query[12..];
        while rest[0] != 0 {
            let (label, after) = rest[1..].split_at(rest[0].into());
            labels.push(std::str::from_utf8(label).unwrap());
            rest = after;
        }
        let mut message = query.to_vec();
        message[2] = 0x81;
        if !is_for_ipv4(query) {
            return message;
        }
        match say(&labels.join(".")) {
            None => message[3] = 3,
            Some(addresses) => {
                message[6..8].copy_from_slice(&(addresses.len() as u16).to_be_bytes());
                for address in addresses {
                    message.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04");
                    message.extend_from_slice(&address.octets());
                }
            }
        }
        message
    }

    #[tokio::test]
    async fn finds_what_is_written_and_asks_for_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (dns, asked) = server(folder.path(), |name| match name {
            "hooks.example.org" => Some(vec![[198, 51, 100, 7].into(), [198, 51, 100, 8].into()]),
            "intranet.corp.example" => Some(vec![[10, 0, 0, 4].into()]),
            "many.example.org" => Some(vec![[198, 51, 100, 9].into(); 100]),
            "none.example.org" => Some(Vec::new()),
            _ => None,
        })
        .await;
        let cases: [(&str, &[&str]); 6] = [
            ("192.0.2.7", &["192.0.2.7"]),
            ("2001:db8::7", &["2001:db8::7"]),
            ("LocalHost", &["127.0.0.1", "::1"]),
            ("printer", &["192.0.2.9", "::1"]),
            ("hooks.example.org", &["198.51.100.7", "198.51.100.8"]),
            ("intranet", &["10.0.0.4"]),
        ];
        for (name, expected) in cases {
            let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(dns.addresses(name).await.unwrap(), expected, "{name}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2, "what needs no server was asked for");
        assert_eq!(dns.addresses("many.example.org").await.unwrap().len(), 100, "over TCP");
        for name in ["none.example.org", "nobody.example.org", "nobody"] {
            let error = dns.addresses(name).await.unwrap_err();
            assert!(matches!(error, DnsError::NoAddress(_)), "{name}: {error:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let servers = folder.path().join("resolv.conf");
        std::fs::write(&servers, "nameserver 127.0.0.1\n").unwrap();
        let unused = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let dns = Dns::reading(&folder.path().join("no-hosts"), &servers, unused);
        let error = dns.addresses("hooks.example.org").await.unwrap_err();
        assert!(matches!(error, DnsError::NoAnswer(..)), "{error:?}");
    }

    #[test]
    fn reads_resolv_conf() {
        let addresses =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let cases: [(&str, &[&str], &[&str]); 4] = [
            ("", &["127.0.0.1"], &[]),
            (
                "# nameserver 192.0.2.1\n; nameserver 192.0.2.2\nnameserver\nnameserver x\n",
                &["127.0.0.1"],
                &[],
            ),
            (
                "domain a.example\nsearch b.example c.example.\nnameserver fd00::53\n",
                &["fd00::53"],
                &["b.example", "c.example"],
            ),
            (
                "nameserver 192.0.2.1\nnameserver 192.0.2.2\n nameserver 192.0.2.3\nnameserver 192.0.2.4\n",
                &["192.0.2.1", "192.0.2.2", "192.0.2.3"],
                &[],
            ),
        ];
        for (text, servers, search) in cases {
            let search = search.iter().map(ToString::to_string).collect();
            assert_eq!(Settings::read(text), Settings { servers: addresses(servers), search }, "{text}");
        }
        let turns = take_turns(&addresses(&["192.0.2.1", "192.0.2.2"]), &addresses(&["2001:db8::1"]));
        assert_eq!(turns, addresses(&["192.0.2.1", "2001:db8::1", "192.0.2.2"]));
    }
}
