//! A steady load on the family topic, made by a seeded generator: reports and their closings, early and late, repeats, what
//! can't be read and what can't be folded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidewatch::codec;
use tidewatch::engine::id;
use tidewatch::families::civic::event::{
    Body, CivicEvent, IssueStatus, IssueStatusChanged, ReportSubmitted, issue_id,
};
use tidewatch::log::Log;
use uuid::Uuid;

use crate::system;
use crate::system::System;

const TENANTS: [&str; 2] = ["boston", "salem"];
const AREAS: u64 = 40;

/// Sends until it is stopped.
pub struct Load {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Load {
    /// Begins to send `batch` records every 10 ms.
    pub fn start(system: &System, seed: u64, batch: usize) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (log, stopped) = (system.log.clone(), is_stopped.clone());
        let thread = std::thread::spawn(move || {
            let mut sender = Sender::new(&log, seed);
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                sender.send(batch);
                sent += batch;
                // A pace, not a condition.
                std::thread::sleep(Duration::from_millis(10));
            }
            sender.flush();
            sent
        });
        Self { is_stopped, thread: Some(thread) }
    }

    /// Stops; returns how many records were sent, all of them acknowledged.
    pub fn stop(mut self) -> usize {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// Sends some records of the generator, all of them acknowledged.
pub fn send(system: &System, seed: u64, count: usize) {
    let mut sender = Sender::new(&system.log, seed);
    sender.send(count);
    sender.flush();
}

/// Appends events in their order, all of them acknowledged.
pub fn append(system: &System, events: impl Iterator<Item = CivicEvent>) {
    let mut sender = Sender::new(&system.log, 0);
    for event in events {
        sender.append(&Record::of(&event));
    }
    sender.flush();
}

/// A report, with a due time of its own or without.
pub fn report(
    tenant: &str,
    area: String,
    event_id: String,
    occurred_at: i64,
    due_at: impl Into<Option<i64>>,
) -> CivicEvent {
    let report = ReportSubmitted {
        area,
        description: "Broken bench".into(),
        due_at: due_at.into(),
        department: None,
        address: None,
        latitude: None,
        longitude: None,
        source: None,
    };
    CivicEvent { tenant: tenant.into(), event_id, occurred_at, body: Body::ReportSubmitted(report) }
}

/// Sends records of the generator.
struct Sender {
    producer: BaseProducer,
    topic: String,
    generator: Generator,
}

impl Sender {
    fn new(log: &Log, seed: u64) -> Self {
        let producer = log.producer().create().unwrap();
        Self {
            producer,
            topic: log.name("civic"),
            generator: Generator { state: seed | 1, sent: Vec::new() },
        }
    }

    fn send(&mut self, count: usize) {
        for _ in 0..count {
            let record = self.generator.next();
            self.append(&record);
        }
        self.producer.poll(Duration::ZERO);
    }

    fn append(&mut self, record: &Record) {
        let Record { partition, key, value } = record;
        let mut record =
            BaseRecord::<[u8], [u8]>::to(&self.topic).partition(*partition).key(key).payload(value);
        while let Err((error, returned)) = self.producer.send(record) {
            assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
            record = returned;
            self.producer.poll(Duration::from_millis(10));
        }
    }

    fn flush(&self) {
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }
}

/// A record of the family topic.
struct Record {
    partition: i32,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Record {
    fn of(event: &CivicEvent) -> Self {
        let partition = id::partition(event.route(), system::partitions("civic") as u32);
        let value = codec::newest("civic").unwrap().encode(event).unwrap();
        Self { partition, key: event.record_key().into_bytes(), value }
    }
}

struct Generator {
    state: u64,
    /// Some of what was sent: (tenant, area, event id).
    sent: Vec<(&'static str, String, String)>,
}

impl Generator {
    /// Xorshift: the same seed gives the same choices.
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % bound
    }

    fn next(&mut self) -> Record {
        let now = Timestamp::now().as_millisecond();
        let choice = self.below(100);
        if choice == 0 {
            let partition = self.below(system::partitions("civic") as u64) as i32;
            return Record { partition, key: b"boston/torn".to_vec(), value: b"{torn".to_vec() };
        }
        let event = match choice {
            1..50 => self.report(now),
            50..55 => match self.any() {
                // The same again.
                Some((tenant, area, event_id)) => self.report_of(tenant, area, event_id, now),
                None => self.report(now),
            },
            55..57 => self.change(TENANTS[0], Uuid::new_v8([7; 16]), now),
            57..59 => self.report(now + 3_600_000),
            _ => match self.any() {
                Some((tenant, area, event_id)) => {
                    let issue = issue_id(tenant, &area, &event_id);
                    self.change(tenant, issue, now)
                }
                None => self.report(now),
            },
        };
        Record::of(&event)
    }

    fn any(&mut self) -> Option<(&'static str, String, String)> {
        let length = self.sent.len() as u64;
        (length > 0).then(|| self.below(length) as usize).map(|place| self.sent[place].clone())
    }

    fn report(&mut self, at: i64) -> CivicEvent {
        let tenant = TENANTS[self.below(2) as usize];
        let area = format!("area {}", self.below(AREAS));
        let event_id = format!("r{:x}", self.below(u64::MAX));
        let place = self.below(2_000) as usize;
        let sent = (tenant, area.clone(), event_id.clone());
        if place < self.sent.len() {
            self.sent[place] = sent;
        } else {
            self.sent.push(sent);
        }
        self.report_of(tenant, area, event_id, at)
    }

    fn report_of(&mut self, tenant: &str, area: String, event_id: String, at: i64) -> CivicEvent {
        let occurred_at = at - self.below(2_000) as i64;
        let due_at = (self.below(4) > 0).then(|| occurred_at + self.below(4_000) as i64 - 1_000);
        report(tenant, area, event_id, occurred_at, due_at)
    }

    fn change(&mut self, tenant: &str, issue_id: Uuid, at: i64) -> CivicEvent {
        let all = [IssueStatus::InProgress, IssueStatus::Resolved, IssueStatus::Closed, IssueStatus::Open];
        let status = all[self.below(4) as usize];
        let occurred_at = at - self.below(3_000) as i64;
        let event_id = format!("c{:x}", self.below(u64::MAX));
        let body = Body::IssueStatusChanged(IssueStatusChanged { issue_id, status });
        CivicEvent { tenant: tenant.into(), event_id, occurred_at, body }
    }
}
