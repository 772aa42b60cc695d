//! What a file server tells administrators, to the wire and back.

mod scrub;

pub use scrub::{ScrubPieces, scrub_to_wire, wish_to_wire};

use baton_types::control::{
    AggregateExport, AggregateReport, DetachReport, Difference, ExportReport, Fate, FilesetReport, GrowthReport,
    Restored, RollBackReport, SnapshotReport, Work,
};
use baton_types::{Epoch, Error, FileName, FilesetId, Kind, Result, Timestamp};

use crate::v1;
use crate::wire::{FromWire, bytes, free_text};

impl From<AggregateReport> for v1::AggregateReport {
    fn from(report: AggregateReport) -> v1::AggregateReport {
        v1::AggregateReport {
            id: report.id.0.as_bytes().to_vec(),
            name: bytes(report.name),
            device: report.device,
            exported: report.exported.map(|exported| v1::AggregateExport {
                epoch: exported.epoch.0,
                total_bytes: exported.total_bytes,
                free_bytes: exported.free_bytes,
                filesets: exported.filesets,
            }),
        }
    }
}

impl TryFrom<v1::AggregateReport> for AggregateReport {
    type Error = Error;

    fn try_from(report: v1::AggregateReport) -> Result<AggregateReport> {
        Ok(AggregateReport {
            id: FromWire::from_wire(&report.id)?,
            name: FromWire::from_wire(&report.name)?,
            device: free_text(report.device, "device")?,
            exported: report.exported.map(|exported| AggregateExport {
                epoch: Epoch(exported.epoch),
                total_bytes: exported.total_bytes,
                free_bytes: exported.free_bytes,
                filesets: exported.filesets,
            }),
        })
    }
}

impl From<GrowthReport> for v1::GrowAggregateReply {
    fn from(report: GrowthReport) -> v1::GrowAggregateReply {
        v1::GrowAggregateReply {
            before: report.before,
            least: report.least,
            most: report.most,
            bytes: report.bytes,
        }
    }
}

impl From<v1::GrowAggregateReply> for GrowthReport {
    fn from(reply: v1::GrowAggregateReply) -> GrowthReport {
        GrowthReport {
            before: reply.before,
            least: reply.least,
            most: reply.most,
            bytes: reply.bytes,
        }
    }
}

impl From<FilesetReport> for v1::FilesetReport {
    fn from(report: FilesetReport) -> v1::FilesetReport {
        v1::FilesetReport {
            id: report.id.0,
            name: bytes(report.name),
            aggregate: bytes(report.aggregate),
            used_bytes: report.used_bytes,
            used_files: report.used_files,
            quota_bytes: report.quota_bytes,
            quota_files: report.quota_files,
            created: report.created.0,
            version: report.version,
            online: report.is_online,
            backup: report.has_backup,
        }
    }
}

impl TryFrom<v1::FilesetReport> for FilesetReport {
    type Error = Error;

    fn try_from(report: v1::FilesetReport) -> Result<FilesetReport> {
        Ok(FilesetReport {
            id: FilesetId(report.id),
            name: FromWire::from_wire(&report.name)?,
            aggregate: FromWire::from_wire(&report.aggregate)?,
            used_bytes: report.used_bytes,
            used_files: report.used_files,
            quota_bytes: report.quota_bytes,
            quota_files: report.quota_files,
            created: Timestamp(report.created),
            version: report.version,
            is_online: report.online,
            has_backup: report.backup,
        })
    }
}

impl From<ExportReport> for v1::ExportReply {
    fn from(report: ExportReport) -> v1::ExportReply {
        v1::ExportReply {
            aggregate: bytes(report.aggregate),
            epoch: report.epoch.0,
            records: report.records,
            micros: report.micros,
            filesets: report.filesets,
        }
    }
}

impl TryFrom<v1::ExportReply> for ExportReport {
    type Error = Error;

    fn try_from(reply: v1::ExportReply) -> Result<ExportReport> {
        Ok(ExportReport {
            aggregate: FromWire::from_wire(&reply.aggregate)?,
            epoch: Epoch(reply.epoch),
            records: reply.records,
            micros: reply.micros,
            filesets: reply.filesets,
        })
    }
}

impl From<DetachReport> for v1::DetachReply {
    fn from(report: DetachReport) -> v1::DetachReply {
        v1::DetachReply {
            aggregate: bytes(report.aggregate),
            epoch: report.epoch.0,
            filesets: report.filesets,
            holds: report.holds,
            unreachable: report.unreachable,
        }
    }
}

impl TryFrom<v1::DetachReply> for DetachReport {
    type Error = Error;

    fn try_from(reply: v1::DetachReply) -> Result<DetachReport> {
        Ok(DetachReport {
            aggregate: FromWire::from_wire(&reply.aggregate)?,
            epoch: Epoch(reply.epoch),
            filesets: reply.filesets,
            holds: reply.holds,
            unreachable: reply.unreachable,
        })
    }
}

impl From<SnapshotReport> for v1::SnapshotReport {
    fn from(report: SnapshotReport) -> v1::SnapshotReport {
        v1::SnapshotReport {
            name: report.name.as_bytes().to_vec(),
            taken: report.taken.0,
            used_bytes: report.used_bytes,
            used_files: report.used_files,
            unique_bytes: report.unique_bytes,
        }
    }
}

impl TryFrom<v1::SnapshotReport> for SnapshotReport {
    type Error = Error;

    fn try_from(report: v1::SnapshotReport) -> Result<SnapshotReport> {
        Ok(SnapshotReport {
            name: FileName::parse(&report.name)?,
            taken: Timestamp(report.taken),
            used_bytes: report.used_bytes,
            used_files: report.used_files,
            unique_bytes: report.unique_bytes,
        })
    }
}

impl From<RollBackReport> for v1::RollBackFilesetReply {
    fn from(report: RollBackReport) -> v1::RollBackFilesetReply {
        v1::RollBackFilesetReply {
            taken: report.taken.0,
            then_bytes: report.then_bytes,
            then_files: report.then_files,
            now_bytes: report.now_bytes,
            now_files: report.now_files,
            before: report.before,
        }
    }
}

impl TryFrom<v1::RollBackFilesetReply> for RollBackReport {
    type Error = Error;

    fn try_from(reply: v1::RollBackFilesetReply) -> Result<RollBackReport> {
        Ok(RollBackReport {
            taken: Timestamp(reply.taken),
            then_bytes: reply.then_bytes,
            then_files: reply.then_files,
            now_bytes: reply.now_bytes,
            now_files: reply.now_files,
            before: free_text(reply.before, "snapshot")?,
        })
    }
}

impl From<Restored> for v1::RestoredFile {
    fn from(restored: Restored) -> v1::RestoredFile {
        let fate = match restored.fate {
            Fate::Back => 1,
            Fate::Changed => 2,
            Fate::Gone => 3,
        };
        v1::RestoredFile {
            path: restored.path,
            fate,
        }
    }
}

impl TryFrom<v1::RestoredFile> for Restored {
    type Error = Error;

    fn try_from(file: v1::RestoredFile) -> Result<Restored> {
        let fate = match file.fate {
            1 => Fate::Back,
            2 => Fate::Changed,
            3 => Fate::Gone,
            other => return Err(Error::new(Kind::Invalid, "restored file").because(format!("fate {other}"))),
        };
        Ok(Restored { path: file.path, fate })
    }
}

impl From<Difference> for v1::PathDifference {
    fn from(difference: Difference) -> v1::PathDifference {
        let (what, path, old) = match difference {
            Difference::Added(path) => (1, path, Vec::new()),
            Difference::Removed(path) => (2, path, Vec::new()),
            Difference::Content(path) => (3, path, Vec::new()),
            Difference::Attributes(path) => (4, path, Vec::new()),
            Difference::Renamed { old, new } => (5, new, old),
        };
        v1::PathDifference { what, path, old }
    }
}

impl TryFrom<v1::PathDifference> for Difference {
    type Error = Error;

    fn try_from(difference: v1::PathDifference) -> Result<Difference> {
        let v1::PathDifference { what, path, old } = difference;
        match what {
            1 => Ok(Difference::Added(path)),
            2 => Ok(Difference::Removed(path)),
            3 => Ok(Difference::Content(path)),
            4 => Ok(Difference::Attributes(path)),
            5 => Ok(Difference::Renamed { old, new: path }),
            other => Err(Error::new(Kind::Invalid, "difference").because(format!("it is of kind {other}"))),
        }
    }
}

impl From<Work> for v1::Work {
    fn from(work: Work) -> v1::Work {
        v1::Work {
            id: work.id,
            what: work.what,
            on: work.on,
            since: work.since.0,
        }
    }
}

impl TryFrom<v1::Work> for Work {
    type Error = Error;

    fn try_from(work: v1::Work) -> Result<Work> {
        Ok(Work {
            id: work.id,
            what: free_text(work.what, "work")?,
            on: free_text(work.on, "work")?,
            since: Timestamp(work.since),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_types::{AggregateId, Kind};

    fn aggregate() -> AggregateReport {
        AggregateReport {
            id: AggregateId::random(),
            name: "lfs03".parse().unwrap(),
            device: "/dev/x".to_owned(),
            exported: Some(AggregateExport {
                epoch: Epoch(42),
                total_bytes: 1 << 40,
                free_bytes: 1 << 39,
                filesets: 54,
            }),
        }
    }

    #[test]
    fn reports_cross_the_wire_whole() {
        let report = aggregate();
        let wire = v1::AggregateReport::from(report.clone());
        assert_eq!(AggregateReport::try_from(wire).unwrap(), report);
        let report = FilesetReport {
            id: FilesetId(1201),
            name: "user.ito".parse().unwrap(),
            aggregate: "lfs03".parse().unwrap(),
            used_bytes: 1,
            used_files: 2,
            quota_bytes: 3,
            quota_files: 4,
            created: Timestamp(-5),
            version: 6,
            is_online: true,
            has_backup: true,
        };
        let wire = v1::FilesetReport::from(report.clone());
        assert_eq!(FilesetReport::try_from(wire).unwrap(), report);
        let report = SnapshotReport {
            name: FileName::parse(b"daily.1").unwrap(),
            taken: Timestamp(-5),
            used_bytes: 1,
            used_files: 2,
            unique_bytes: 3,
        };
        let wire = v1::SnapshotReport::from(report.clone());
        assert_eq!(SnapshotReport::try_from(wire).unwrap(), report);
        let report = RollBackReport {
            taken: Timestamp(-5),
            then_bytes: 1,
            then_files: 2,
            now_bytes: 3,
            now_files: 4,
            before: "before-rollback.1".to_owned(),
        };
        let wire = v1::RollBackFilesetReply::from(report.clone());
        assert_eq!(RollBackReport::try_from(wire).unwrap(), report);
        for fate in [Fate::Back, Fate::Changed, Fate::Gone] {
            let restored = Restored {
                path: b"doc/a".to_vec(),
                fate,
            };
            let wire = v1::RestoredFile::from(restored.clone());
            assert_eq!(Restored::try_from(wire).unwrap(), restored);
        }
        let path = || b"doc/\xa4".to_vec();
        for difference in [
            Difference::Added(path()),
            Difference::Removed(path()),
            Difference::Content(path()),
            Difference::Attributes(path()),
            Difference::Renamed {
                old: b"a".to_vec(),
                new: path(),
            },
        ] {
            let wire = v1::PathDifference::from(difference.clone());
            assert_eq!(Difference::try_from(wire).unwrap(), difference);
        }
    }

    #[test]
    fn what_a_server_may_not_say_is_refused() {
        let mut wire = v1::AggregateReport::from(aggregate());
        wire.device = "/dev/x\u{1b}[2J".to_owned();
        assert_eq!(AggregateReport::try_from(wire.clone()).unwrap_err().kind, Kind::Invalid);
        wire.device = "x".repeat(2_000);
        assert_eq!(AggregateReport::try_from(wire.clone()).unwrap_err().kind, Kind::Limit);
        wire.id.pop();
        assert!(AggregateReport::try_from(wire).is_err());
        let wire = v1::PathDifference::default();
        assert_eq!(Difference::try_from(wire).unwrap_err().kind, Kind::Invalid);
    }
}
