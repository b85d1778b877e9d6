//! Takes a partition's records from librdkafka in batches: `rd_kafka_consume_batch_queue`, for which `rdkafka` has no safe call.
//! It costs a third of what its `poll` does, which makes an event of each record.
//!
//! Each partition has a queue of its own ([`PartitionQueue`]), so that the consumer's own queue holds nothing but what the group
//! decides: it is to be polled as ever, and a record never comes of it. (A batch of the consumer's own queue would break
//! rebalances: librdkafka hands them to its caller as events there.)
//!
//! This crate holds the `unsafe` of the program. What makes it sound:
//! - a queue and its records are destroyed before the client to which they belong, which [`PartitionQueue`] keeps alive;
//! - a record is lent for as long as the queue is not changed; only [`advance`](PartitionQueue::advance) destroys one;
//! - what a record points to is its own until it is destroyed
//!   ([`rd_kafka_message_t`](https://docs.confluent.io/platform/current/clients/librdkafka/html/structrd__kafka__message__s.html)).

#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use rdkafka::Timestamp;
use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message};
use rdkafka::types::RDKafkaRespErr;

/// The records of a partition that the client has fetched.
pub struct PartitionQueue<C: ConsumerContext> {
    queue: NonNull<native::rd_kafka_queue_t>,
    /// Taken from the queue; the first is at work.
    taken: VecDeque<NonNull<native::rd_kafka_message_t>>,
    /// Where records are taken to.
    places: Vec<*mut native::rd_kafka_message_t>,
    topic: String,
    /// After the queue and its records: fields are dropped in this order, and [`Drop`] comes before them all.
    _consumer: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext> PartitionQueue<C> {
    /// Takes a partition's records away from the consumer's own queue. Before the partition is assigned, so that none of them
    /// gets there. `None` if the topic has no name that Kafka could know.
    pub fn split(consumer: &Arc<BaseConsumer<C>>, topic: &str, partition: i32) -> Option<Self> {
        let name = CString::new(topic).ok()?;
        // SAFETY: the client lives, and the name ends with a zero. The queue is ours until it is destroyed, in `drop`.
        let queue = unsafe {
            let client = consumer.client().native_ptr();
            let queue = NonNull::new(native::rd_kafka_queue_get_partition(client, name.as_ptr(), partition))?;
            native::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            queue
        };
        let (taken, places) = (VecDeque::new(), Vec::new());
        Some(Self { queue, taken, places, topic: topic.to_owned(), _consumer: Arc::clone(consumer) })
    }

    /// Takes up to `limit` records that lie ready, without waiting, where none is left. Returns whether there is one now.
    pub fn fill(&mut self, limit: usize) -> bool {
        if self.taken.is_empty() {
            self.places.resize(limit, ptr::null_mut());
            // SAFETY: the queue lives, and there are `limit` places. Records are ours until they are destroyed.
            let count = unsafe {
                native::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.places.as_mut_ptr(), limit)
            };
            // -1 is an error of the call itself, which this one can't make.
            let count = usize::try_from(count).unwrap_or(0);
            self.taken.extend(self.places[..count].iter().copied().filter_map(NonNull::new));
        }
        !self.taken.is_empty()
    }

    /// The record at work, or what the client says in its place; `None` where none is left.
    pub fn front(&self) -> Option<Result<BatchMessage<'_>, KafkaError>> {
        let message = *self.taken.front()?;
        // SAFETY: it is not destroyed before the queue is changed.
        let error = unsafe { message.as_ref().err };
        Some(match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(BatchMessage { message, topic: &self.topic }),
            error => Err(KafkaError::MessageConsumption(error.into())),
        })
    }

    /// Goes on to the next.
    pub fn advance(&mut self) {
        if let Some(message) = self.taken.pop_front() {
            // SAFETY: it is ours, and nobody has it any more.
            unsafe { native::rd_kafka_message_destroy(message.as_ptr()) };
        }
    }
}

impl<C: ConsumerContext> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        while !self.taken.is_empty() {
            self.advance();
        }
        // SAFETY: it is ours, and its client lives.
        unsafe { native::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A record of a [`PartitionQueue`].
pub struct BatchMessage<'q> {
    message: NonNull<native::rd_kafka_message_t>,
    /// Lent from the queue, as the record is.
    topic: &'q str,
}

impl BatchMessage<'_> {
    fn native(&self) -> &native::rd_kafka_message_t {
        // SAFETY: it lives as long as the borrow of its queue.
        unsafe { self.message.as_ref() }
    }

    fn bytes(&self, start: *mut std::ffi::c_void, length: usize) -> Option<&[u8]> {
        let start = NonNull::new(start.cast::<u8>())?;
        // SAFETY: librdkafka has that many bytes there, which live as long as the record.
        Some(unsafe { slice::from_raw_parts(start.as_ptr(), length) })
    }
}

impl Message for BatchMessage<'_> {
    type Headers = BatchHeaders;

    fn key(&self) -> Option<&[u8]> {
        self.bytes(self.native().key, self.native().key_len)
    }

    fn payload(&self) -> Option<&[u8]> {
        self.bytes(self.native().payload, self.native().len)
    }

    unsafe fn payload_mut(&mut self) -> Option<&mut [u8]> {
        None
    }

    fn topic(&self) -> &str {
        self.topic
    }

    fn partition(&self) -> i32 {
        self.native().partition
    }

    fn offset(&self) -> i64 {
        self.native().offset
    }

    fn timestamp(&self) -> Timestamp {
        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the record lives.
        let time = unsafe { native::rd_kafka_message_timestamp(self.message.as_ptr(), &mut kind) };
        match kind {
            native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME if time != -1 => {
                Timestamp::CreateTime(time)
            }
            native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME if time != -1 => {
                Timestamp::LogAppendTime(time)
            }
            _ => Timestamp::NotAvailable,
        }
    }

    fn headers(&self) -> Option<&BatchHeaders> {
        let mut headers = ptr::null_mut();
        // SAFETY: the record lives, and is used by this thread alone (it is not `Sync`). Its headers live as long.
        unsafe {
            let error = native::rd_kafka_message_headers(self.message.as_ptr(), &mut headers);
            let is_found = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
            let headers = NonNull::new(headers).filter(|_| is_found)?;
            Some(headers.cast::<BatchHeaders>().as_ref())
        }
    }
}

/// The headers of a record. It has no contents: its address is librdkafka's.
#[repr(transparent)]
pub struct BatchHeaders(());

impl BatchHeaders {
    fn native(&self) -> *const native::rd_kafka_headers_t {
        ptr::from_ref(self).cast()
    }
}

impl Headers for BatchHeaders {
    fn count(&self) -> usize {
        // SAFETY: they live as long as the borrow of their record.
        unsafe { native::rd_kafka_header_cnt(self.native()) }
    }

    fn try_get(&self, place: usize) -> Option<Header<'_, &[u8]>> {
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: they live, and so do name and value, which is `length` bytes long.
        unsafe {
            let error =
                native::rd_kafka_header_get_all(self.native(), place, &mut name, &mut value, &mut length);
            if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            // A name that is no text is none of ours.
            let key = CStr::from_ptr(name).to_str().unwrap_or_default();
            let value = NonNull::new(value.cast_mut().cast::<u8>());
            let value = value.map(|start| slice::from_raw_parts(start.as_ptr(), length));
            Some(Header { key, value })
        }
    }
}
