//! A message for a message.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, ResponseCode},
    rr::{DNSClass, Name, RecordType},
};

use super::{
    Zone,
    hosts::Hosts,
    name::{Meaning, meaning},
    records,
};
use crate::{
    balancer::answers::{Answers, Refused, Request},
    host::Host,
    model::Caller,
    view::{Refusal, Spelled},
};

/// Endpoints in one answer. Each of them counts as busier; and who asks by DNS keeps to the first, or tries two or
/// three.
const MOST: u32 = 16;

/// Bytes of a datagram that pass everywhere without being cut into pieces.
pub(super) const PAYLOAD: u16 = 1232;

/// Bytes of an answer to somebody who has not said that he takes more.
const SMALL: u16 = 512;

/// Bytes of the head of every message.
const HEAD: usize = 12;

/// Answers messages.
pub(super) struct Replier {
    zone: Zone,
    answers: Answers,
    host: Host,
    hosts: Hosts,
}

impl Replier {
    pub(super) fn new(zone: Zone, answers: Answers, host: Host) -> Self {
        Self {
            zone,
            answers,
            hosts: Hosts::new(host.clone()),
            host,
        }
    }

    /// Everything that is answered.
    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// The answer to `bytes`, which came in a datagram or over a connection; none to what deserves none.
    pub(super) async fn reply(&self, bytes: &[u8], in_datagram: bool) -> Option<Vec<u8>> {
        let (reply, room) = match Message::from_vec(bytes) {
            // Answers to answers would go on for ever.
            Ok(query) if query.metadata.message_type != MessageType::Query => return None,
            Ok(query) => {
                let offered = query.edns.as_ref().map_or(SMALL, Edns::max_payload);
                (self.answer(&query).await, offered.clamp(SMALL, PAYLOAD))
            }
            Err(_) => (unreadable(bytes)?, SMALL),
        };
        let room = match in_datagram {
            true => usize::from(room),
            false => usize::from(u16::MAX),
        };
        fitting(reply, room)
    }

    async fn answer(&self, query: &Message) -> Message {
        let asked = &query.metadata;
        let mut reply = Message::response(asked.id, asked.op_code);
        reply.metadata.recursion_desired = asked.recursion_desired;
        reply.add_queries(query.queries.iter().cloned());
        if query.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD).set_version(0);
            reply.set_edns(edns);
        }
        let code = self.fill(query, &mut reply).await;
        reply.metadata.response_code = code;
        reply
    }

    /// Puts records into `reply`.
    async fn fill(&self, query: &Message, reply: &mut Message) -> ResponseCode {
        if query.metadata.op_code != OpCode::Query {
            return ResponseCode::NotImp;
        }
        if query.version() > 0 {
            return ResponseCode::BADVERS;
        }
        let [question] = &query.queries[..] else {
            return ResponseCode::FormErr;
        };
        if ![DNSClass::IN, DNSClass::ANY].contains(&question.query_class()) {
            return ResponseCode::Refused;
        }
        let (name, kind) = (question.name(), question.query_type());
        if kind == RecordType::AXFR || kind == RecordType::IXFR {
            return ResponseCode::Refused;
        }
        let zone = &self.zone;
        let meaning = meaning(name, &zone.domain);
        if meaning == Meaning::Elsewhere {
            return ResponseCode::Refused;
        }
        reply.metadata.authoritative = true;
        let code = match meaning {
            Meaning::Elsewhere | Meaning::Above => ResponseCode::NoError,
            Meaning::Domain => {
                if [RecordType::SOA, RecordType::ANY].contains(&kind) {
                    reply.add_answer(self.authority());
                }
                ResponseCode::NoError
            }
            Meaning::Address(address) => {
                if records::fits(kind, address) {
                    reply.add_answer(records::address(name.clone(), zone.ttl, address));
                }
                ResponseCode::NoError
            }
            Meaning::Service(service) => self.service(&service, name, kind, reply).await,
        };
        let is_no = reply.answers.is_empty()
            && [ResponseCode::NoError, ResponseCode::NXDomain].contains(&code);
        if is_no {
            reply.add_authority(self.authority());
        }
        reply.metadata.authoritative = is_no || !reply.answers.is_empty();
        code
    }

    async fn service(
        &self,
        service: &str,
        owner: &Name,
        kind: RecordType,
        reply: &mut Message,
    ) -> ResponseCode {
        let service = match self.answers.directory().spelled(service) {
            Ok(Spelled::Name(service)) => service,
            Ok(Spelled::Above) => return ResponseCode::NoError,
            Ok(Spelled::Unknown) => return ResponseCode::NXDomain,
            Err(_) => return ResponseCode::ServFail,
        };
        // Nobody shows who he is here.
        if let Err(refused) = self.answers.admit(&service, &Caller::Anonymous) {
            return code(&refused);
        }
        let chosen = match kind {
            RecordType::SRV | RecordType::ANY => self.pick(service),
            RecordType::A | RecordType::AAAA => match self.has(&service, kind) {
                Ok(true) => self.pick(service),
                Ok(false) => Ok(Vec::new()),
                Err(refused) => Err(refused),
            },
            _ => Ok(Vec::new()),
        };
        let endpoints = match chosen {
            Ok(endpoints) => endpoints,
            Err(refused) => return code(&refused),
        };
        let ttl = self.zone.ttl;
        match kind {
            RecordType::A | RecordType::AAAA => {
                let found = records::addresses(owner, ttl, kind, &endpoints, &self.hosts);
                reply.add_answers(found.await);
            }
            _ => {
                let (services, beside) = records::services(owner, &self.zone, &endpoints);
                reply.add_answers(services);
                reply.add_additionals(beside);
            }
        }
        ResponseCode::NoError
    }

    fn pick(&self, service: String) -> Result<Vec<crate::balancer::answers::Seen>, Refused> {
        self.answers.pick(&Request {
            service,
            count: MOST,
            ..Request::default()
        })
    }

    /// Whether an endpoint can have an address of that kind. Most clients ask for both kinds: what cannot be
    /// answered is not to make anybody busier.
    fn has(&self, service: &str, kind: RecordType) -> Result<bool, Refused> {
        let endpoints = self.answers.endpoints(service)?;
        Ok(endpoints.iter().any(|seen| {
            let literal = seen.endpoint.host().parse();
            literal.map_or(true, |address| records::fits(kind, address))
        }))
    }

    fn authority(&self) -> hickory_proto::rr::Record {
        records::authority(&self.zone, self.host.clock.timestamp())
    }
}

/// What there is to say instead of endpoints.
fn code(refused: &Refused) -> ResponseCode {
    match refused {
        Refused::View(Refusal::NotSynced(_)) => ResponseCode::ServFail,
        Refused::View(Refusal::Unknown(_)) => ResponseCode::NXDomain,
        // It has its name, but no address now.
        Refused::View(Refusal::NothingHealthy { .. } | Refusal::AllExcluded(_)) => {
            ResponseCode::NoError
        }
        _ => ResponseCode::Refused,
    }
}

/// The answer to what is no message but looks as if it were meant for one.
fn unreadable(bytes: &[u8]) -> Option<Message> {
    let [first, second, flags, ..] = *bytes else {
        return None;
    };
    let is_query = flags & 0x80 == 0;
    if bytes.len() < HEAD || !is_query {
        return None;
    }
    let id = u16::from_be_bytes([first, second]);
    let op_code = OpCode::from_u8(flags >> 3 & 0xf);
    Some(Message::error_msg(id, op_code, ResponseCode::FormErr))
}

/// `reply` in `room` bytes: without what merely saves a question, else without records and with the word that
/// there are more of them over a connection.
fn fitting(mut reply: Message, room: usize) -> Option<Vec<u8>> {
    let whole = reply.to_vec().ok()?;
    if whole.len() <= room {
        return Some(whole);
    }
    reply.additionals.clear();
    let short = reply.to_vec().ok()?;
    if short.len() <= room {
        return Some(short);
    }
    reply.truncate().to_vec().ok()
}
