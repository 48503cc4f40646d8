"""The format of AMQP frames: the structures, codes and flags that the frame reader and the frame writer share."""

import struct

FRAME = struct.Struct(">BHI")
"""A frame's header: kind, channel and length of the payload, which follows, and then the end octet."""
FRAME_END = 0xCE
FRAME_OVERHEAD = FRAME.size + 1
METHOD, HEADER, BODY = 1, 2, 3
"""Kinds of frame."""
HEARTBEAT = FRAME.pack(8, 0, 0) + bytes([FRAME_END])
"""A whole heartbeat frame."""

NUMBER = struct.Struct(">I")
"""A long unsigned number, which lengths are."""
TAG = struct.Struct(">QB")
"""A delivery tag, and the octet of bits behind it."""
BASIC = 60
DELIVER, RETURN, ACK, NACK = (BASIC << 16 | method for method in (60, 50, 80, 120))
MULTIPLE, REQUEUE = 1, 2
"""Bits behind the delivery tag of an ack or a nack."""

CONTENT_HEADER = struct.Struct(">HHQH")
"""A content header's class, weight, body size and property flags."""
PROPERTY_FLAGS = {
    "content_type": 1 << 15, "content_encoding": 1 << 14, "headers": 1 << 13, "delivery_mode": 1 << 12,
    "priority": 1 << 11, "correlation_id": 1 << 10, "reply_to": 1 << 9, "expiration": 1 << 8, "message_id": 1 << 7,
    "timestamp": 1 << 6, "message_type": 1 << 5, "user_id": 1 << 4, "app_id": 1 << 3, "cluster_id": 1 << 2,
}  # fmt: skip
"""The properties of a message, in the order in which they are written."""
