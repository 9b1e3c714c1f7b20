"""Protocol Buffers, by generated message classes. Needs the extra ``protobuf``, loaded when a codec is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arpc.codecs import Codec

__all__ = ["ProtobufCodec"]


class ProtobufCodec(Codec):
    """Messages of google.protobuf, proto2 and proto3.

    A protobuf body doesn't say what it is, so there is no plain value: name the message class, by ``returns=`` when
    calling and by annotation in a handler. Making the codec raises ImportError if google.protobuf isn't installed.
    """

    name = "protobuf"
    empty_is_value = True

    def __init__(self) -> None:
        try:
            from google.protobuf import message
        except ImportError as error:
            text = "the protobuf codec needs the extra protobuf of arpc, or else: pip install protobuf"
            raise ImportError(text, name=error.name) from error
        self._message = message

    def encode(self, value: Any) -> bytes:
        """The serialized message.

        Raises TypeError for anything that is not a message, ValueError if required fields (proto2) are not set: it
        names them.
        """
        if not isinstance(value, self._message.Message):
            raise TypeError(
                f"the protobuf codec encodes protobuf messages, not {type(value).__name__}: pass a message, or bytes, "
                "or use another codec"
            )
        try:
            return value.SerializeToString()
        except self._message.EncodeError as error:
            raise ValueError(str(error)) from error

    def decode(self, data: bytes) -> Any:
        """Raises TypeError: protobuf has no plain value."""
        raise TypeError("protobuf has no plain value: name a message class, as in returns=MyMessage (or bytes)")

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """A function that parses a message of class ``type``.

        It raises ValueError for a body that isn't one, and for one without its required fields (proto2): it names them.
        Raises TypeError for anything but a message class.
        """
        if not self._is_message_class(type):
            raise TypeError(f"the protobuf codec decodes into protobuf message classes, not {type!r}")
        parse: Callable[[bytes], Any] = type.FromString
        name = type.DESCRIPTOR.full_name
        broken = self._message.DecodeError

        def decode(data: bytes) -> Any:
            try:
                message = parse(data)
            except broken as error:
                raise ValueError(str(error)) from error
            if not message.IsInitialized():  # parsing doesn't ask for them
                missing = ", ".join(message.FindInitializationErrors())
                raise ValueError(f"message {name} is missing required fields: {missing}")
            return message

        return decode

    def _is_message_class(self, cls: Any) -> bool:
        base = self._message.Message  # abstract: it has no descriptor
        return isinstance(cls, type) and issubclass(cls, base) and cls is not base
