"""An SMSC that is not ours: smpp.twisted3's server protocol, driven by the test over standard input and output.

Everything is one JSON object per line. The first line out says {"event": "listening", "port": N}; then one line per
bind, unbind, submit_sm and deliver_sm_resp. A line in delivers one message:
{"esm_class": 64, "data_coding": 246, "protocol_id": 8, "source": "49...",
"payload": "hex", "in_message_payload": false}.
The process ends when its standard input ends.
"""

import json
import logging
import sys
from io import BytesIO

from smpp.pdu.operations import DeliverSM
from smpp.pdu.pdu_encoding import DataCodingEncoder, EsmClassEncoder
from smpp.pdu.pdu_types import AddrNpi, AddrTon, CommandStatus
from smpp.twisted.config import SMPPServerConfig
from smpp.twisted.protocol import DataHandlerResponse, SMPPServerProtocol
from smpp.twisted.server import SMPPServerFactory
from twisted.cred.error import UnauthorizedLogin
from twisted.internet import reactor
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver

SYSTEM_ID, PASSWORD = "centre", "secret"
SHORT_MESSAGE_MAX = 254


def tell(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def number_of(encoder, value):
    return encoder.encode(value)[0]


def value_of(encoder, number):
    return encoder.decode(BytesIO(bytes([number])))


class Session(SMPPServerProtocol):
    """The library's session, with a word to the test at both of its ends."""

    def sendPDU(self, pdu):
        super().sendPDU(pdu)
        if pdu.commandId.name.startswith("bind_"):
            tell("bind", kind=pdu.commandId.name.removesuffix("_resp"), status=pdu.status.name)

    def onPDURequest_unbind(self, pdu):
        tell("unbind", kind=self.bind_type.name)
        super().onPDURequest_unbind(pdu)

    def connectionLost(self, reason):
        tell("closed")
        super().connectionLost(reason)


class Factory(SMPPServerFactory):
    protocol = Session

    def login(self, system_id, password, client_address):
        if (system_id, password) != (SYSTEM_ID, PASSWORD):
            raise UnauthorizedLogin()
        return None, system_id, None


submitted = 0


def on_submit(system_id, session, pdu):
    global submitted
    submitted += 1
    message_id = f"T{submitted:07X}"
    tell(
        "submit",
        message_id=message_id,
        source=pdu.params["source_addr"].decode(),
        destination=pdu.params["destination_addr"].decode(),
        esm_class=number_of(EsmClassEncoder(), pdu.params["esm_class"]),
        data_coding=number_of(DataCodingEncoder(), pdu.params["data_coding"]),
        protocol_id=pdu.params["protocol_id"],
        receipt=pdu.params["registered_delivery"].receipt.name,
        payload=(pdu.params["short_message"] or pdu.params.get("message_payload") or b"").hex(),
    )
    return DataHandlerResponse(CommandStatus.ESME_ROK, message_id=message_id)


class Orders(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def lineReceived(self, line):
        order = json.loads(line)
        receivers = factory.getBoundConnections(SYSTEM_ID)
        session = receivers and receivers.getNextBindingForDelivery()
        if session is None:
            return tell("delivered", status="nobody is bound")
        payload = bytes.fromhex(order["payload"])
        short = len(payload) <= SHORT_MESSAGE_MAX and not order["in_message_payload"]
        body = {"short_message": payload} if short else {"short_message": b"", "message_payload": payload}
        pdu = DeliverSM(
            source_addr_ton=AddrTon.INTERNATIONAL,
            source_addr_npi=AddrNpi.ISDN,
            source_addr=order["source"].encode(),
            dest_addr_ton=AddrTon.UNKNOWN,
            dest_addr_npi=AddrNpi.ISDN,
            destination_addr=b"7788",
            esm_class=value_of(EsmClassEncoder(), order["esm_class"]),
            protocol_id=order["protocol_id"],
            data_coding=value_of(DataCodingEncoder(), order["data_coding"]),
            **body,
        )
        answer = session.sendDataRequest(pdu)
        answer.addCallback(lambda result: tell("delivered", status=result.response.status.name))
        answer.addErrback(lambda failure: tell("delivered", status=str(failure.value)))

    def connectionLost(self, reason):
        if reactor.running:
            reactor.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    config = SMPPServerConfig(msgHandler=on_submit, systems={SYSTEM_ID: {"max_bindings": 8}})
    factory = Factory(config, auth_portal=None)
    listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
    StandardIO(Orders())
    tell("listening", port=listening.getHost().port)
    sys.exit(reactor.run())
