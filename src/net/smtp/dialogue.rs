//! What is said to a mail server, and what its replies mean (RFC 5321, 3207 and 4954).
//!
//! Owns: the order of commands, as a function of replies alone: no socket, no clock. Refuses: to log in or
//! to send before the connection is as safe as was asked for, and commands with anything in them that could
//! end a line early.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::reply::Reply;
use crate::fax::notify::Address;
use crate::secret::Secret;

/// Where the dialogue stands: what the next reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The connection was made.
    Greeting,
    /// We named ourselves.
    Hello,
    /// We asked for TLS.
    StartTls,
    /// We log in.
    Login,
    /// We named the sender.
    Sender,
    /// We named the recipient.
    Recipient,
    /// We announced the message.
    Announcement,
    /// We sent the message.
    Message,
}

impl Step {
    /// For sentences: what the server refused.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Greeting => "to talk to us",
            Self::Hello => "our greeting",
            Self::StartTls => "TLS",
            Self::Login => "the user name or password",
            Self::Sender => "the sender's address",
            Self::Recipient => "the recipient's address",
            Self::Announcement | Self::Message => "the message",
        }
    }
}

/// A user name and password.
#[derive(Clone, Debug)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret<String>,
}

/// One message to one recipient.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Who sends it.
    pub from: Address,
    /// Whom it is for.
    pub to: Address,
    /// The message, with CR and LF at the end of each line.
    pub message: Vec<u8>,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Action {
    /// Send this, and hand in the reply.
    Say(Zeroizing<Vec<u8>>),
    /// Make the connection safe, then go on with [`Dialogue::begin_secure`].
    SecureNow,
    /// It is done: this was the last reply that counts.
    Done,
}

/// Why it does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The server refused.
    Refused(Step),
    /// It offers no TLS.
    NoTls,
    /// It offers no way to log in that we know.
    NoLogin,
}

/// How far a login has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    /// All was said; the server decides.
    Verdict,
    /// `AUTH LOGIN` was sent.
    User,
    /// The user name was sent.
    Password,
}

/// One dialogue: a message to deliver, or, without one, a look whether the server would take any.
#[derive(Debug)]
pub(super) struct Dialogue<'a> {
    /// How we name ourselves.
    name: String,
    /// Whether TLS must be asked for first.
    upgrades: bool,
    login: Option<&'a Login>,
    envelope: Option<&'a Envelope>,
    step: Step,
    prompt: Prompt,
}

impl<'a> Dialogue<'a> {
    pub(super) fn new(
        name: String,
        upgrades: bool,
        login: Option<&'a Login>,
        envelope: Option<&'a Envelope>,
    ) -> Self {
        Self { name, upgrades, login, envelope, step: Step::Greeting, prompt: Prompt::Verdict }
    }

    /// What follows once TLS is there; the server forgets what it offered before (RFC 3207 section 4.2).
    pub(super) fn begin_secure(&mut self) -> Action {
        self.upgrades = false;
        self.hello()
    }

    /// What follows from a reply.
    pub(super) fn heard(&mut self, reply: &Reply) -> Result<Action, Stop> {
        let expected = match self.step {
            Step::Greeting | Step::StartTls => 220..=220,
            Step::Login if self.prompt == Prompt::Verdict => 235..=235,
            Step::Login => 334..=334,
            Step::Announcement => 354..=354,
            // 251: it is passed on to another address.
            Step::Recipient => 250..=251,
            Step::Hello | Step::Sender | Step::Message => 250..=250,
        };
        if !expected.contains(&reply.code()) {
            return Err(Stop::Refused(self.step));
        }
        match self.step {
            Step::Greeting => Ok(self.hello()),
            Step::Hello => self.after_hello(reply),
            Step::StartTls => Ok(Action::SecureNow),
            Step::Login => Ok(self.go_on_with_login()),
            Step::Sender => Ok(match self.envelope {
                Some(envelope) => self.say(Step::Recipient, &format!("RCPT TO:<{}>", envelope.to)),
                None => Action::Done,
            }),
            Step::Recipient => Ok(self.say(Step::Announcement, "DATA")),
            Step::Announcement => {
                self.step = Step::Message;
                let message = self.envelope.map_or(&[][..], |envelope| envelope.message.as_slice());
                Ok(Action::Say(stuffed(message).into()))
            }
            Step::Message => Ok(Action::Done),
        }
    }

    fn hello(&mut self) -> Action {
        let line = format!("EHLO {}", self.name);
        self.say(Step::Hello, &line)
    }

    fn after_hello(&mut self, reply: &Reply) -> Result<Action, Stop> {
        // The first line names the server, each other one offers something.
        let offers = || reply.lines().iter().skip(1).map(|line| line.to_ascii_uppercase().replace('=', " "));
        if self.upgrades {
            let is_offered = offers().any(|offer| offer.trim() == "STARTTLS");
            return if is_offered { Ok(self.say(Step::StartTls, "STARTTLS")) } else { Err(Stop::NoTls) };
        }
        let Some(login) = self.login else { return Ok(self.sender()) };
        let ways: Vec<String> = offers()
            .filter(|offer| offer.starts_with("AUTH "))
            .flat_map(|offer| offer.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let offered = |way: &str| ways.iter().any(|offered| offered == way);
        if offered("PLAIN") {
            // RFC 4616: no other identity, then who it is, then the password.
            let plain = Zeroizing::new(format!("\0{}\0{}", login.user, login.password.reveal()));
            let encoded = Zeroizing::new(Base64::encode_string(plain.as_bytes()));
            self.prompt = Prompt::Verdict;
            Ok(self.say(Step::Login, &Zeroizing::new(format!("AUTH PLAIN {}", *encoded))))
        } else if offered("LOGIN") {
            self.prompt = Prompt::User;
            Ok(self.say(Step::Login, "AUTH LOGIN"))
        } else {
            Err(Stop::NoLogin)
        }
    }

    fn go_on_with_login(&mut self) -> Action {
        let (Some(login), next) = (self.login, self.prompt) else { return self.sender() };
        match next {
            Prompt::Verdict => self.sender(),
            Prompt::User => {
                self.prompt = Prompt::Password;
                self.say(Step::Login, &Base64::encode_string(login.user.as_bytes()))
            }
            Prompt::Password => {
                self.prompt = Prompt::Verdict;
                let encoded = Zeroizing::new(Base64::encode_string(login.password.reveal().as_bytes()));
                self.say(Step::Login, &encoded)
            }
        }
    }

    fn sender(&mut self) -> Action {
        match self.envelope {
            Some(envelope) => self.say(Step::Sender, &format!("MAIL FROM:<{}>", envelope.from)),
            None => Action::Done,
        }
    }

    fn say(&mut self, step: Step, line: &str) -> Action {
        self.step = step;
        let mut bytes = Zeroizing::new(Vec::with_capacity(line.len() + 2));
        // Nothing here holds them; should it ever, the line still ends where it should.
        bytes.extend(line.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        bytes.extend_from_slice(b"\r\n");
        Action::Say(bytes)
    }
}

/// The message as it is sent: a dot before each dot that begins a line, and one alone at the end
/// (RFC 5321 section 4.5.2). Line ends of any kind become CR and LF, so that no other reading of them
/// makes an end in the middle.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut sent = Vec::with_capacity(message.len() + 64);
    let text = message.strip_suffix(b"\n").unwrap_or(message);
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.first() == Some(&b'.') {
            sent.push(b'.');
        }
        sent.extend(line.iter().map(|byte| if *byte == b'\r' { b' ' } else { *byte }));
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b".\r\n");
    sent
}

#[cfg(test)]
mod tests {
    use super::super::reply::Replies;
    use super::*;

    fn reply(text: &str) -> Reply {
        let mut replies = Replies::default();
        replies.take(text.replace('\n', "\r\n").as_bytes());
        let reply = replies.next().unwrap().unwrap();
        assert!(!replies.is_ahead(), "{text}");
        reply
    }

    fn login() -> Login {
        Login { user: "fax".into(), password: Secret::new("pass word".into()) }
    }

    fn envelope() -> Envelope {
        let address = |text: &str| text.parse().unwrap();
        let message = b"Subject: x\r\n\r\n.dot\r\n..\r\nend\r\n".to_vec();
        Envelope { from: address("fax@example.org"), to: address("desk@example.org"), message }
    }

    /// Hands in these replies; what was said after each, or how it stopped.
    fn talk(mut dialogue: Dialogue<'_>, replies: &[&str]) -> Result<Vec<String>, Stop> {
        let mut said = Vec::new();
        for text in replies {
            match dialogue.heard(&reply(text))? {
                Action::Say(bytes) => said.push(String::from_utf8(bytes.to_vec()).unwrap()),
                Action::SecureNow => match dialogue.begin_secure() {
                    Action::Say(bytes) => {
                        said.push(format!("(secure) {}", String::from_utf8(bytes.to_vec()).unwrap()));
                    }
                    other => panic!("{other:?}"),
                },
                Action::Done => said.push("(done)".into()),
            }
        }
        Ok(said)
    }

    #[test]
    fn delivers_a_message_after_tls_and_login() {
        let (login, envelope) = (login(), envelope());
        let dialogue = Dialogue::new("[192.0.2.1]".into(), true, Some(&login), Some(&envelope));
        let said = talk(
            dialogue,
            &[
                "220-mail.example.org\n220 ready\n",
                "250-mail.example.org\n250-PIPELINING\n250-AUTH LOGIN\n250 starttls\n",
                "220 go\n",
                "250-mail.example.org\n250-SIZE 1000\n250 AUTH LOGIN PLAIN\n",
                "235 2.7.0 welcome\n",
                "250 2.1.0 ok\n",
                "250 2.1.5 ok\n",
                "354 go\n",
                "250 2.0.0 queued as 7\n",
            ],
        );
        let plain = Base64::encode_string(b"\0fax\0pass word");
        assert_eq!(
            said.unwrap(),
            [
                "EHLO [192.0.2.1]\r\n",
                "STARTTLS\r\n",
                "(secure) EHLO [192.0.2.1]\r\n",
                &format!("AUTH PLAIN {plain}\r\n"),
                "MAIL FROM:<fax@example.org>\r\n",
                "RCPT TO:<desk@example.org>\r\n",
                "DATA\r\n",
                "Subject: x\r\n\r\n..dot\r\n...\r\nend\r\n.\r\n",
                "(done)",
            ]
        );
    }

    #[test]
    fn logs_in_by_steps_where_only_that_is_offered() {
        let login = login();
        let dialogue = Dialogue::new("x".into(), false, Some(&login), None);
        let said = talk(
            dialogue,
            &["220 x\n", "250-x\n250 AUTH=LOGIN\n", "334 VXNlcm5hbWU6\n", "334 UGFzc3dvcmQ6\n", "235 ok\n"],
        );
        let word = |text: &str| format!("{}\r\n", Base64::encode_string(text.as_bytes()));
        let expected = ["EHLO x\r\n", "AUTH LOGIN\r\n", &word("fax"), &word("pass word"), "(done)"];
        assert_eq!(said.unwrap(), expected);
    }

    #[test]
    fn says_nothing_secret_before_it_is_safe_and_stops_where_it_is_refused() {
        let (login, envelope) = (login(), envelope());
        let stops = |upgrades, replies: &[&str]| {
            let dialogue = Dialogue::new("x".into(), upgrades, Some(&login), Some(&envelope));
            talk(dialogue, replies).unwrap_err()
        };
        let plain = "250-x\n250 AUTH PLAIN\n";
        assert_eq!(stops(true, &["220 x\n", plain]), Stop::NoTls, "whatever else it offers");
        assert_eq!(
            stops(true, &["220 x\n", "250-x\n250 STARTTLS\n", "454 no\n"]),
            Stop::Refused(Step::StartTls)
        );
        assert_eq!(stops(false, &["220 x\n", "250 x\n"]), Stop::NoLogin);
        assert_eq!(stops(false, &["220 x\n", "250-x\n250 AUTH CRAM-MD5\n"]), Stop::NoLogin);
        assert_eq!(stops(false, &["554 go away\n"]), Stop::Refused(Step::Greeting));
        assert_eq!(stops(false, &["220 x\n", "502 no\n"]), Stop::Refused(Step::Hello));
        let mut heard = vec!["220 x\n", plain];
        for (step, good) in [
            (Step::Login, "235 ok\n"),
            (Step::Sender, "250 ok\n"),
            (Step::Recipient, "251 ok\n"),
            (Step::Announcement, "354 go\n"),
            (Step::Message, "250 ok\n"),
        ] {
            for bad in ["450 later\n", "550 no\n", "221 bye\n"] {
                assert_eq!(stops(false, &[heard.as_slice(), &[bad]].concat()), Stop::Refused(step));
            }
            heard.push(good);
        }
    }

    #[test]
    fn no_line_of_a_message_ends_it() {
        for (message, sent) in [
            ("", "\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r\n.\r\n", "a\r\n..\r\n.\r\n"),
            ("a\r.\rb\r\n", "a . b\r\n.\r\n"),
            ("\n\n", "\r\n\r\n.\r\n"),
        ] {
            assert_eq!(String::from_utf8(stuffed(message.as_bytes())).unwrap(), sent, "{message:?}");
        }
    }
}
