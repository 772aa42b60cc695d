//! Beats and plans of moves between their typed form and the wire.

use baton_types::beat::{Beat, Buddy, Found, Port, PortState, Report, Sign};
use baton_types::limits::{BUDDIES_MAX, JUDGED_AGGREGATES_MAX};
use baton_types::plan::{PlannedMove, Step};
use baton_types::{AggregateId, AggregateName, Epoch, Error, Incarnation, Result, ServerId};

use crate::v1;
use crate::wire::{FromWire, at_most, bytes, free_text, invalid, missing};

fn id(id: uuid::Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

impl From<Port> for v1::Port {
    fn from(port: Port) -> v1::Port {
        let state = match port.state {
            PortState::Good => v1::PortState::Good,
            PortState::Stalled => v1::PortState::Stalled,
            PortState::Unreadable => v1::PortState::Unreadable,
        };
        v1::Port {
            aggregate: id(port.aggregate.0),
            newest: port.newest.0,
            disk_beat: port.disk_beat,
            state: state as i32,
        }
    }
}

impl TryFrom<v1::Port> for Port {
    type Error = Error;

    fn try_from(port: v1::Port) -> Result<Port> {
        Ok(Port {
            aggregate: AggregateId::from_wire(&port.aggregate)?,
            newest: Epoch(port.newest),
            disk_beat: port.disk_beat,
            state: match port.state() {
                v1::PortState::Good => PortState::Good,
                v1::PortState::Stalled => PortState::Stalled,
                v1::PortState::Unreadable => PortState::Unreadable,
                v1::PortState::Unspecified => return Err(invalid("port", "a state this version does not know")),
            },
        })
    }
}

impl From<Beat> for v1::BeatRequest {
    fn from(beat: Beat) -> v1::BeatRequest {
        v1::BeatRequest {
            server: id(beat.server.0),
            incarnation: id(beat.incarnation.0),
            sequence: beat.sequence,
            gate_micros: beat.gate_micros,
            ports: beat.ports.into_iter().map(Into::into).collect(),
            clients: beat.clients,
            buddies: beat.buddies.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Buddy> for v1::Buddy {
    fn from(buddy: Buddy) -> v1::Buddy {
        let found = match buddy.found {
            Found::Silent => v1::Found::Silent,
            Found::Refused => v1::Found::Refused,
            Found::Slow => v1::Found::Slow,
            Found::Answers => v1::Found::Answers,
        };
        v1::Buddy {
            server: id(buddy.server.0),
            found: found as i32,
            incarnation: buddy.sign.map(|sign| id(sign.incarnation.0)).unwrap_or_default(),
            sequence: buddy.sign.map_or(0, |sign| sign.sequence),
            gate_micros: buddy.sign.map_or(0, |sign| sign.gate_micros),
        }
    }
}

impl TryFrom<v1::Buddy> for Buddy {
    type Error = Error;

    fn try_from(buddy: v1::Buddy) -> Result<Buddy> {
        let sign = |incarnation| Sign {
            incarnation,
            sequence: buddy.sequence,
            gate_micros: buddy.gate_micros,
        };
        Ok(Buddy {
            server: ServerId::from_wire(&buddy.server)?,
            found: match buddy.found() {
                v1::Found::Silent => Found::Silent,
                v1::Found::Refused => Found::Refused,
                v1::Found::Slow => Found::Slow,
                v1::Found::Answers => Found::Answers,
                v1::Found::Unspecified => return Err(invalid("buddy", "an answer this version does not know")),
            },
            sign: Incarnation::optional(&buddy.incarnation)?.map(sign),
        })
    }
}

impl From<(ServerId, Sign)> for v1::ProbeReply {
    fn from((server, sign): (ServerId, Sign)) -> v1::ProbeReply {
        v1::ProbeReply {
            server: id(server.0),
            incarnation: id(sign.incarnation.0),
            sequence: sign.sequence,
            gate_micros: sign.gate_micros,
        }
    }
}

impl TryFrom<v1::ProbeReply> for (ServerId, Sign) {
    type Error = Error;

    fn try_from(reply: v1::ProbeReply) -> Result<(ServerId, Sign)> {
        let sign = Sign {
            incarnation: Incarnation::from_wire(&reply.incarnation)?,
            sequence: reply.sequence,
            gate_micros: reply.gate_micros,
        };
        Ok((ServerId::from_wire(&reply.server)?, sign))
    }
}

impl From<Report> for v1::ReportRequest {
    fn from(report: Report) -> v1::ReportRequest {
        v1::ReportRequest {
            caller: 0,
            server: id(report.server.0),
            good: report.is_good,
        }
    }
}

impl TryFrom<v1::ReportRequest> for Report {
    type Error = Error;

    fn try_from(report: v1::ReportRequest) -> Result<Report> {
        Ok(Report {
            server: ServerId::from_wire(&report.server)?,
            is_good: report.good,
        })
    }
}

impl TryFrom<v1::BeatRequest> for Beat {
    type Error = Error;

    fn try_from(beat: v1::BeatRequest) -> Result<Beat> {
        at_most(beat.ports.len(), JUDGED_AGGREGATES_MAX, "ports")?;
        at_most(beat.buddies.len(), BUDDIES_MAX, "buddies")?;
        Ok(Beat {
            server: ServerId::from_wire(&beat.server)?,
            incarnation: Incarnation::from_wire(&beat.incarnation)?,
            sequence: beat.sequence,
            gate_micros: beat.gate_micros,
            ports: beat.ports.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
            clients: beat.clients,
            buddies: beat.buddies.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
        })
    }
}

impl From<PlannedMove> for v1::PlannedMove {
    fn from(planned: PlannedMove) -> v1::PlannedMove {
        use v1::planned_move::Step as Wire;
        v1::PlannedMove {
            aggregate: id(planned.aggregate.0),
            name: bytes(planned.name),
            epoch: planned.epoch.0,
            from: planned.from.map(|from| id(from.0)).unwrap_or_default(),
            step: Some(match planned.step {
                Step::HandOver { to } => Wire::HandOver(id(to.0)),
                Step::Grant { to } => Wire::Grant(id(to.0)),
                Step::Stay { why } => Wire::Stay(why),
            }),
        }
    }
}

impl TryFrom<v1::PlannedMove> for PlannedMove {
    type Error = Error;

    fn try_from(planned: v1::PlannedMove) -> Result<PlannedMove> {
        use v1::planned_move::Step as Wire;
        Ok(PlannedMove {
            aggregate: AggregateId::from_wire(&planned.aggregate)?,
            name: AggregateName::from_wire(&planned.name)?,
            epoch: Epoch(planned.epoch),
            from: ServerId::optional(&planned.from)?,
            step: match planned.step.ok_or_else(|| missing("step"))? {
                Wire::HandOver(to) => Step::HandOver {
                    to: ServerId::from_wire(&to)?,
                },
                Wire::Grant(to) => Step::Grant {
                    to: ServerId::from_wire(&to)?,
                },
                Wire::Stay(why) => Step::Stay {
                    why: free_text(why, "reason")?,
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_survives_the_wire_and_one_with_an_unknown_port_is_refused() {
        let port = |state| Port {
            aggregate: AggregateId::random(),
            newest: Epoch(7),
            disk_beat: 9,
            state,
        };
        let sign = Sign {
            incarnation: Incarnation::random(),
            sequence: 9,
            gate_micros: 1,
        };
        let beat = Beat {
            server: ServerId::random(),
            incarnation: Incarnation::random(),
            sequence: 3,
            gate_micros: 12,
            ports: [PortState::Good, PortState::Stalled, PortState::Unreadable]
                .map(port)
                .to_vec(),
            clients: 4,
            buddies: [
                (Found::Silent, None),
                (Found::Refused, Some(sign)),
                (Found::Slow, Some(sign)),
                (Found::Answers, Some(sign)),
            ]
            .map(|(found, sign)| Buddy {
                server: ServerId::random(),
                found,
                sign,
            })
            .to_vec(),
        };
        let mut wire = v1::BeatRequest::from(beat.clone());
        assert_eq!(Beat::try_from(wire.clone()).unwrap(), beat);
        wire.ports[0].state = 0;
        assert!(Beat::try_from(wire).is_err());
    }

    #[test]
    fn each_step_of_a_plan_survives_the_wire() {
        let to = ServerId::random();
        for step in [
            Step::HandOver { to },
            Step::Grant { to },
            Step::Stay {
                why: "fs2 is drained".to_owned(),
            },
        ] {
            let planned = PlannedMove {
                aggregate: AggregateId::random(),
                name: AggregateName::parse("agg1").unwrap(),
                epoch: Epoch(7),
                from: None,
                step,
            };
            assert_eq!(
                PlannedMove::try_from(v1::PlannedMove::from(planned.clone())).unwrap(),
                planned
            );
        }
    }
}
