//! Logins under way on one connection: few, short, and not for ever.
//!
//! While a mechanism works on a token its conversation is *busy*: out of the map, still counted.

use std::collections::HashMap;
use std::sync::Arc;

use baton_types::limits::{AUTH_TOKEN_BYTES_MAX, CONVERSATION_SECONDS_MAX, CONVERSATIONS_MAX, LOGIN_FAILURES_MAX};
use baton_types::{Error, Kind, Result, Time};

use super::{Answer, Callers};
use crate::auth::{Acceptor, Exchange, Step};

/// Those of one connection.
#[derive(Default)]
pub(super) struct Conversations {
    open: HashMap<u32, Conversation>,
    /// The number given out last; numbers are not used again.
    last: u32,
    failures: u32,
}

struct Conversation {
    mech: &'static str,
    since: Time,
    /// `None` while the mechanism works on it.
    exchange: Option<Box<dyn Exchange>>,
}

impl Callers {
    pub(super) fn converse(&self, mech: &str, conversation: u32, token: &[u8]) -> Result<Answer> {
        let (conversation, mut exchange) = self.take(mech, conversation)?;
        let step = match token.len() {
            ..=AUTH_TOKEN_BYTES_MAX => exchange.step(&self.channel, token),
            len => Err(Error::new(Kind::Invalid, "login token")
                .because(format!("{len} bytes, {AUTH_TOKEN_BYTES_MAX} at most"))),
        };
        match step {
            Ok(Step::Continue(token)) => {
                self.conversations.lock().put_back(conversation, exchange);
                Ok(Answer::Continue { conversation, token })
            }
            Ok(Step::Done(token, identity)) => {
                self.conversations.lock().open.remove(&conversation);
                let (caller, identity, expires) = self.enter(identity)?;
                Ok(Answer::Done {
                    token,
                    caller,
                    identity,
                    expires,
                })
            }
            Err(e) => {
                self.conversations.lock().open.remove(&conversation);
                Err(e)
            }
        }
    }

    /// A new exchange for conversation 0, else the one that goes on.
    fn take(&self, mech: &str, conversation: u32) -> Result<(u32, Box<dyn Exchange>)> {
        let now = self.gate.clock.now();
        let mut conversations = self.conversations.lock();
        conversations.check_failures()?;
        conversations.forget_old(now);
        if conversation > 0 {
            return Ok((conversation, conversations.resume(mech, conversation)?));
        }
        let acceptor = self.gate.find(mech)?;
        Ok((conversations.begin(acceptor.name(), now)?, acceptor.start()))
    }
}

impl super::Gate {
    fn find(&self, mech: &str) -> Result<Arc<dyn Acceptor>> {
        let mechanisms = self.mechanisms.load();
        mechanisms
            .iter()
            .find(|acceptor| acceptor.name() == mech)
            .cloned()
            .ok_or_else(|| {
                let names: Vec<_> = mechanisms.iter().map(|acceptor| acceptor.name()).collect();
                let start: String = mech.chars().take(32).collect();
                Error::new(Kind::Unsupported, format!("login mechanism '{}'", start.escape_debug()))
                    .because("this server does not offer it")
                    .remedy(format!("it offers {}", names.join(", ")))
            })
    }
}

impl Conversations {
    /// Counts what went wrong. A limit is nobody's failure to prove who he is.
    pub(super) fn count(&mut self, error: &Error) {
        if error.kind != Kind::Limit {
            self.failures = self.failures.saturating_add(1);
        }
    }

    fn check_failures(&self) -> Result<()> {
        if self.failures < LOGIN_FAILURES_MAX {
            return Ok(());
        }
        Err(Error::new(Kind::Limit, "login")
            .because(format!(
                "{LOGIN_FAILURES_MAX} logins failed on this connection, and it takes no more"
            ))
            .remedy("connect again"))
    }

    fn forget_old(&mut self, now: Time) {
        let is_young = |since: Time| now.saturating_sub(since) < CONVERSATION_SECONDS_MAX * 1_000_000;
        self.open
            .retain(|_, open| open.exchange.is_none() || is_young(open.since));
    }

    fn begin(&mut self, mech: &'static str, now: Time) -> Result<u32> {
        let limit = |why: String| Error::new(Kind::Limit, "login").because(why);
        if self.open.len() >= CONVERSATIONS_MAX {
            let why = format!("{CONVERSATIONS_MAX} logins are under way on this connection");
            return Err(limit(why).remedy("finish one of them first"));
        }
        self.last = self
            .last
            .checked_add(1)
            .ok_or_else(|| limit("this connection is used up".to_owned()))?;
        self.open.insert(
            self.last,
            Conversation {
                mech,
                since: now,
                exchange: None,
            },
        );
        Ok(self.last)
    }

    fn put_back(&mut self, conversation: u32, exchange: Box<dyn Exchange>) {
        if let Some(open) = self.open.get_mut(&conversation) {
            open.exchange = Some(exchange);
        }
    }

    fn resume(&mut self, mech: &str, conversation: u32) -> Result<Box<dyn Exchange>> {
        let bad = |why: &str| Error::new(Kind::Invalid, format!("login conversation {conversation}")).because(why);
        let open = self
            .open
            .get_mut(&conversation)
            .ok_or_else(|| bad("there is none under way on this connection").remedy("begin a new one"))?;
        if open.mech != mech {
            return Err(bad(&format!("it is by {}, to the end", open.mech)));
        }
        open.exchange
            .take()
            .ok_or_else(|| bad("its last token is not answered yet"))
    }
}
