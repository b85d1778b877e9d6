"""Reads whole topics with Confluent's own client, and writes each value anew with its serialiser.

Arguments: brokers, the registry's URL, then TOPIC=SUBJECT pairs. Prints a line of JSON a record.
"""

import json
import sys

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

brokers, url, *topics = sys.argv[1:]
registry = SchemaRegistryClient({"url": url})
consumer = Consumer({
    "bootstrap.servers": brokers,
    "group.id": "stock",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
})
deserialize = AvroDeserializer(registry)
for pair in topics:
    topic, subject = pair.split("=")
    # As a producer that registers nothing: the newest version, or the one whose text it has.
    newest = AvroSerializer(
        registry,
        conf={
            "auto.register.schemas": False,
            "use.latest.version": True,
            "subject.name.strategy": lambda context, record: subject,
        },
    )
    by_text = AvroSerializer(
        registry,
        registry.get_latest_version(subject).schema.schema_str,
        conf={"auto.register.schemas": False, "subject.name.strategy": lambda context, record: subject},
    )
    context = SerializationContext(topic, MessageField.VALUE)
    for partition in consumer.list_topics(topic, 30).topics[topic].partitions:
        consumer.assign([TopicPartition(topic, partition, 0)])
        while True:
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    break
                raise SystemExit(str(message.error()))
            bytes_read = message.value()
            if bytes_read is None:
                continue
            value = deserialize(bytes_read, context)
            same = [serialize(value, context) == bytes_read for serialize in (newest, by_text)]
            print(json.dumps({
                "subject": subject,
                "partition": partition,
                "offset": message.offset(),
                "same": same,
                "value": value,
            }, default=str))
