"""RFC 8448's traces, decrypted from their traffic secrets: section 3 (simple 1-RTT), section 4 (its early data)."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from rxtls.crypto.records import Opened, Opener, Sealer
from rxtls.crypto.recrypt import recrypt
from rxtls.crypto.schedule import expand_label, tls13_keys
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import SUITES

AES_128_GCM = SUITES[0x1301]

CLIENT_HANDSHAKE = "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"
SERVER_HANDSHAKE = "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"
CLIENT_APPLICATION = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
SERVER_APPLICATION = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"
CLIENT_EARLY = "3fbbe6a60deb66c30a32795aba0eff7eaa10105586e7be5c09678d63b6caab62"

CLIENT_HELLO = (
    "010000c00303cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece700000613011303130201"
    "0000910000000b0009000006736572766572ff01000100000a00140012001d0017001800190100010101020103010400"
    "230000003300260024001d002099381de560e4bd43d23d8e435a7dbafeb3c06e51c13cae4d5413691e529aaf2c002b00"
    "03020304000d0020001e040305030603020308040805080604010501060102010402050206020202002d00020101001c"
    "00024001"
)
SERVER_HELLO = (
    "020000560303a6af06a4121860dc5e6e60249cd34c95930c8ac5cb1434dac155772ed3e2692800130100002e00330024"
    "001d0020c9828876112095fe66762bdbf7c672e156d6cc253b833df1dd69b1b04e751f0f002b00020304"
)
SERVER_FLIGHT = (
    "17030302a2d1ff334a56f5bff6594a07cc87b580233f500f45e489e7f33af35edf7869fcf40aa40aa2b8ea73f848a7ca"
    "07612ef9f945cb960b4068905123ea78b111b429ba9191cd05d2a389280f526134aadc7fc78c4b729df828b5ecf7b13b"
    "d9aefb0e57f271585b8ea9bb355c7c79020716cfb9b1183ef3ab20e37d57a6b9d7477609aee6e122a4cf51427325250c"
    "7d0e509289444c9b3a648f1d71035d2ed65b0e3cdd0cbae8bf2d0b227812cbb360987255cc744110c453baa4fcd61092"
    "8d809810e4b7ed1a8fd991f06aa6248204797e36a6a73b70a2559c09ead686945ba246ab66e5edd8044b4c6de3fcf2a8"
    "9441ac66272fd8fb330ef8190579b3684596c960bd596eea520a56a8d650f563aad27409960dca63d3e688611ea5e22f"
    "4415cf9538d51a200c27034272968a264ed6540c84838d89f72c24461aad6d26f59ecaba9acbbb317b66d902f4f292a3"
    "6ac1b639c637ce343117b659622245317b49eeda0c6258f100d7d961ffb138647e92ea330faeea6dfa31c7a84dc3bd7e"
    "1b7a6c7178af36879018e3f252107f243d243dc7339d5684c8b0378bf30244da8c87c843f5e56eb4c5e8280a2b48052c"
    "f93b16499a66db7cca71e4599426f7d461e66f99882bd89fc50800becca62d6c74116dbd2972fda1fa80f85df881edbe"
    "5a37668936b335583b599186dc5c6918a396fa48a181d6b6fa4f9d62d513afbb992f2b992f67f8afe67f76913fa388cb"
    "5630c8ca01e0c65d11c66a1e2ac4c85977b7c7a6999bbf10dc35ae69f5515614636c0b9b68c19ed2e31c0b3b66763038"
    "ebba42f3b38edc0399f3a9f23faa63978c317fc9fa66a73f60f0504de93b5b845e275592c12335ee340bbc4fddd50278"
    "4016e4b3be7ef04dda49f4b440a30cb5d2af939828fd4ae3794e44f94df5a631ede42c1719bfdabf0253fe5175be898e"
    "750edc53370d2b"
)
CLIENT_FINISHED = (
    "170303003575ec4dc238cce60b298044a71e219c56cc77b0517fe9b93c7a4bfc44d87f38f80338ac98fc46deb384bd1c"
    "aeacab6867d726c40546"
)
SERVER_TICKET = (
    "17030300de3a6b8f90414a97d6959c3487680de5134a2b240e6cffac116e95d41d6af8f6b580dcf3d11d63c758db289a"
    "015940252f55713e061dc13e078891a38efbcf5753ad8ef170ad3c7353d16d9da773b9ca7f2b9fa1b6c0d4a3d03f75e0"
    "9c30ba1e62972ac46f75f7b981be63439b2999ce13064615139891d5e4c5b406f16e3fc181a77ca475840025db2f0a77"
    "f81b5ab05b94c01346755f69232c86519d86cbeeac87aac347d143f9605d64f650db4d023e70e952ca49fe5137121c74"
    "bc2697687e248746d6df353005f3bce18696129c8153556b3b6c6779b37bf15985684f"
)
CLIENT_DATA = (
    "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b"
    "62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4"
)
SERVER_DATA = (
    "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8"
    "fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d"
)
CLIENT_ALERT = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3"
SERVER_ALERT = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9"
EARLY_DATA = "1703030017ab1df420e75c457a7cc5d2844f76d5aee4b4edbf049be0"

FIFTY = bytes(range(50))
CLOSE_NOTIFY = b"\1\0"

# name, secret, number, record, inner type, plaintext
TRACE = [
    ("client application data", CLIENT_APPLICATION, 0, CLIENT_DATA, 23, FIFTY),
    ("client alert", CLIENT_APPLICATION, 1, CLIENT_ALERT, 21, CLOSE_NOTIFY),
    ("server application data", SERVER_APPLICATION, 1, SERVER_DATA, 23, FIFTY),
    ("server alert", SERVER_APPLICATION, 2, SERVER_ALERT, 21, CLOSE_NOTIFY),
    ("client early data", CLIENT_EARLY, 0, EARLY_DATA, 23, b"ABCDEF"),
]


@pytest.mark.parametrize(
    ("secret", "number", "record", "type_", "plaintext"), [t[1:] for t in TRACE], ids=[t[0] for t in TRACE]
)
def test_records(secret: str, number: int, record: str, type_: int, plaintext: bytes) -> None:
    keys, wire = tls13_keys(AES_128_GCM, bytes.fromhex(secret)), bytes.fromhex(record)
    assert Opener(keys).open(number, wire) == Opened(type_, plaintext)
    assert Sealer(keys).seal(number, type_, plaintext) == wire
    stream = StreamOpener(keys, number, wire[:5])
    decrypted = stream.update(wire[5:-16])
    assert stream.verify(wire[-16:])
    assert decrypted == plaintext + bytes([type_])
    assert recrypt(keys, number, wire[:5], [(decrypted[:3], True), (wire[8:-16], False)]) == wire[5:-16]


def messages(flight: bytes) -> list[tuple[int, bytes]]:
    """Handshake messages: type, body."""
    out = []
    while flight:
        length = int.from_bytes(flight[1:4])
        out.append((flight[0], flight[4 : 4 + length]))
        flight = flight[4 + length :]
    return out


def finished(secret: str, transcript: bytes) -> bytes:
    """RFC 8446, RFC 9846 section 4.4.4."""
    key = expand_label("sha256", bytes.fromhex(secret), b"finished", b"", 32)
    return hmac.digest(key, hashlib.sha256(transcript).digest(), "sha256")


def test_handshake_flights() -> None:
    server = Opener(tls13_keys(AES_128_GCM, bytes.fromhex(SERVER_HANDSHAKE))).open(0, bytes.fromhex(SERVER_FLIGHT))
    client = Opener(tls13_keys(AES_128_GCM, bytes.fromhex(CLIENT_HANDSHAKE))).open(0, bytes.fromhex(CLIENT_FINISHED))
    assert (server.type, client.type) == (22, 22)
    # EncryptedExtensions, Certificate, CertificateVerify, Finished; then the client's Finished. Both prove that the
    # whole flights are what was sent.
    flight = messages(server.payload)
    assert [type_ for type_, _ in flight] == [8, 11, 15, 20]
    hellos = bytes.fromhex(CLIENT_HELLO + SERVER_HELLO)
    assert flight[3][1] == finished(SERVER_HANDSHAKE, hellos + server.payload[:-36])
    assert messages(client.payload) == [(20, finished(CLIENT_HANDSHAKE, hellos + server.payload))]


def test_new_session_ticket() -> None:
    opened = Opener(tls13_keys(AES_128_GCM, bytes.fromhex(SERVER_APPLICATION))).open(0, bytes.fromhex(SERVER_TICKET))
    assert opened.type == 22
    assert [(type_, len(body)) for type_, body in messages(opened.payload)] == [(4, 201)]
