//! A name server that says what the test tells it to, over UDP and TCP on one port of this machine. RFC 1035.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};
use wayleave::fetch::Resolver;

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const AAAA: u16 = 28;
pub(crate) const HTTPS: u16 = 65;

pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;
pub(crate) const REFUSED: u8 = 5;

/// One question, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) id: [u8; 2],
    /// In lower case, absolute.
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) over_tcp: bool,
    /// How often the same was asked before, over either transport.
    pub(crate) before: usize,
    /// The question section, byte for byte.
    section: Vec<u8>,
}

/// A resource record, RFC 1035 §4.1.3.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    name: String,
    kind: u16,
    data: Vec<u8>,
}

impl Record {
    pub(crate) fn new(name: &str, kind: u16, data: Vec<u8>) -> Self {
        let name = name.to_owned();
        Self { name, kind, data }
    }

    pub(crate) fn address(name: &str, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::new(name, A, v4.octets().to_vec()),
            IpAddr::V6(v6) => Self::new(name, AAAA, v6.octets().to_vec()),
        }
    }

    pub(crate) fn alias(name: &str, target: &str) -> Self {
        Self::new(name, CNAME, labels(target))
    }

    fn write(&self, message: &mut Vec<u8>) {
        message.extend(labels(&self.name));
        message.extend(self.kind.to_be_bytes());
        // Class IN, and a lifetime of 0: nothing is to be remembered.
        message.extend([0, 1, 0, 0, 0, 0]);
        message.extend(u16::try_from(self.data.len()).unwrap().to_be_bytes());
        message.extend(&self.data);
    }
}

/// A name on the wire, RFC 1035 §3.1.
pub(crate) fn labels(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

impl Question {
    fn read(message: &[u8], over_tcp: bool) -> Option<Self> {
        let (mut at, mut name) = (12, String::new());
        while *message.get(at)? != 0 {
            let end = at + 1 + usize::from(message[at]);
            name.push_str(std::str::from_utf8(message.get(at + 1..end)?).ok()?);
            name.push('.');
            at = end;
        }
        let section = message.get(12..at + 5)?.to_vec();
        Some(Self {
            id: [message[0], message[1]],
            name: name.to_ascii_lowercase(),
            kind: u16::from_be_bytes([message[at + 1], message[at + 2]]),
            over_tcp,
            before: 0,
            section,
        })
    }

    /// An answer with these records.
    pub(crate) fn answer(&self, records: &[Record]) -> Vec<u8> {
        let mut message = self.head(0, false, records.len(), records.is_empty());
        for record in records {
            record.write(&mut message);
        }
        if records.is_empty() {
            self.authority().write(&mut message);
        }
        message
    }

    /// A response code and nothing else.
    pub(crate) fn code(&self, code: u8) -> Vec<u8> {
        let mut message = self.head(code, false, 0, true);
        self.authority().write(&mut message);
        message
    }

    /// "Ask again over TCP."
    pub(crate) fn truncated(&self) -> Vec<u8> {
        self.head(0, true, 0, false)
    }

    /// The header and the question, RFC 1035 §4.1.1, with any number of answers claimed.
    pub(crate) fn head(&self, code: u8, truncated: bool, answers: usize, soa: bool) -> Vec<u8> {
        let mut message = self.id.to_vec();
        message.push(0x81 | if truncated { 2 } else { 0 });
        message.push(0x80 | code);
        message.extend([0, 1]);
        message.extend(u16::try_from(answers).unwrap().to_be_bytes());
        message.extend([0, u8::from(soa), 0, 0]);
        message.extend(&self.section);
        message
    }

    fn authority(&self) -> Record {
        let mut data = [labels("ns.example."), labels("root.example.")].concat();
        data.extend([0; 20]);
        Record::new("example.", SOA, data)
    }
}

/// What a name says to a question.
pub(crate) struct Saying(Box<dyn Fn(&Question) -> Reply + Send>);

/// A message, or silence, which over TCP is a closed connection.
struct Reply(Option<Vec<u8>>);

impl Saying {
    pub(crate) fn by(script: impl Fn(&Question) -> Option<Vec<u8>> + Send + 'static) -> Self {
        Self(Box::new(move |question| Reply(script(question))))
    }

    /// These addresses, each to the question for its family.
    pub(crate) fn addresses(addresses: &[&str]) -> Self {
        Self::in_turn(&[addresses])
    }

    /// Other addresses each time the same is asked; the last stay.
    pub(crate) fn in_turn(turns: &[&[&str]]) -> Self {
        let parse = |turn: &&[&str]| turn.iter().map(|ip| ip.parse().unwrap()).collect();
        let turns: Vec<Vec<IpAddr>> = turns.iter().map(parse).collect();
        Self::by(move |question| {
            let turn = &turns[question.before.min(turns.len() - 1)];
            let of_family = turn
                .iter()
                .filter(|address| question.kind == if address.is_ipv4() { A } else { AAAA });
            let records: Vec<_> = of_family
                .map(|address| Record::address(&question.name, *address))
                .collect();
            Some(question.answer(&records))
        })
    }

    pub(crate) fn code(code: u8) -> Self {
        Self::by(move |question| Some(question.code(code)))
    }

    pub(crate) fn nothing() -> Self {
        Self::by(|_| None)
    }

    /// The name is another one; whoever asks has to ask for that.
    pub(crate) fn alias(target: &str) -> Self {
        let target = target.to_owned();
        Self::by(move |question| Some(question.answer(&[Record::alias(&question.name, &target)])))
    }
}

/// The server. It ends with the test. A name that was not told anything does not exist.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    said: Arc<Said>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Said {
    names: Mutex<HashMap<String, Saying>>,
    questions: Mutex<Vec<Question>>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl NameServer {
    pub(crate) async fn start() -> Self {
        Self::at("127.0.0.1:0").await.unwrap()
    }

    pub(crate) async fn at(address: &str) -> std::io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address).await?;
        let said = Arc::<Said>::default();
        let tasks = [
            tokio::spawn(over_udp(udp, Arc::clone(&said))),
            tokio::spawn(over_tcp(tcp, Arc::clone(&said))),
        ];
        Ok(Self {
            address,
            said,
            tasks,
        })
    }

    pub(crate) fn resolver(&self) -> Resolver {
        Resolver::Servers(vec![self.address])
    }

    /// From now on the name says so.
    pub(crate) fn say(&self, name: &str, saying: Saying) {
        let name = format!("{name}.");
        self.said.names.lock().unwrap().insert(name, saying);
    }

    /// Everything that was asked so far.
    pub(crate) fn questions(&self) -> Vec<Question> {
        self.said.questions.lock().unwrap().clone()
    }

    /// How often a name was asked for, by type.
    pub(crate) fn count(&self, name: &str, kind: u16) -> usize {
        let name = format!("{name}.");
        let same = |question: &&Question| question.name == name && question.kind == kind;
        self.questions().iter().filter(same).count()
    }
}

impl Said {
    fn reply(&self, message: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let mut question = Question::read(message, over_tcp)?;
        let mut questions = self.questions.lock().unwrap();
        let same = |known: &&Question| known.name == question.name && known.kind == question.kind;
        question.before = questions.iter().filter(same).count();
        questions.push(question.clone());
        drop(questions);
        match self.names.lock().unwrap().get(&question.name) {
            Some(Saying(script)) => script(&question).0,
            None => Some(question.code(NXDOMAIN)),
        }
    }
}

async fn over_udp(socket: UdpSocket, said: Arc<Said>) {
    let mut message = [0; 4_096];
    while let Ok((length, from)) = socket.recv_from(&mut message).await {
        if let Some(reply) = said.reply(&message[..length], false) {
            _ = socket.send_to(&reply, from).await;
        }
    }
}

async fn over_tcp(listener: TcpListener, said: Arc<Said>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let said = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut message = vec![0; usize::from(length)];
                if stream.read_exact(&mut message).await.is_err() {
                    return;
                }
                let Some(reply) = said.reply(&message, true) else {
                    return;
                };
                let length = u16::try_from(reply.len()).unwrap();
                let framed = [&length.to_be_bytes()[..], &reply].concat();
                if stream.write_all(&framed).await.is_err() {
                    return;
                }
            }
        });
    }
}
