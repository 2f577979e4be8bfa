"""A self-signed server certificate for loopback.

kubectl sends no token to a server without TLS, so the API needs a certificate, and nothing that is installed with the console
can make one. This makes an ECDSA P-256 key (FIPS 186-4) and signs one X.509 certificate (RFC 5280) with it. The handshakes are
OpenSSL's.
"""

import base64
import hashlib
import ipaddress
import secrets
from datetime import UTC, datetime, timedelta

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_A = _P - 3

Point = tuple[int, int] | None

_EC_KEY, _P256, _ECDSA_SHA256 = "1.2.840.10045.2.1", "1.2.840.10045.3.1.7", "1.2.840.10045.4.3.2"


def _add(one: Point, other: Point) -> Point:
    if one is None or other is None:
        return one or other
    if one[0] == other[0] and (one[1] + other[1]) % _P == 0:
        return None
    if one == other:
        slope = (3 * one[0] * one[0] + _A) * pow(2 * one[1], -1, _P)
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, _P)
    x = (slope * slope - one[0] - other[0]) % _P
    return x, (slope * (one[0] - x) - one[1]) % _P


def _times(scalar: int, point: Point) -> tuple[int, int]:
    total: Point = None
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    if total is None:
        raise ValueError("the point at infinity is no public key")
    return total


def _sign(key: int, message: bytes) -> bytes:
    digest = int.from_bytes(hashlib.sha256(message).digest())
    while True:
        nonce = secrets.randbelow(_N - 1) + 1
        r = _times(nonce, _G)[0] % _N
        s = pow(nonce, -1, _N) * (digest + r * key) % _N
        if r and s:
            return _sequence(_integer(r), _integer(s))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    head = (
        bytes([size])
        if size < 128
        else bytes([0x80 | (size.bit_length() + 7) // 8]) + size.to_bytes((size.bit_length() + 7) // 8)
    )
    return bytes([tag]) + head + content


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, b"".join(parts))


def _integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1))


def _oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    encoded = bytes([40 * first + second])
    for number in rest:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        encoded += bytes(reversed(digits))
    return _der(0x06, encoded)


def _bits(content: bytes, unused: int = 0) -> bytes:
    return _der(0x03, bytes([unused]) + content)


def _extension(oid: str, content: bytes, critical: bool = False) -> bytes:
    return _sequence(_oid(oid), *([_der(0x01, b"\xff")] if critical else []), _der(0x04, content))


def _time(at: datetime) -> bytes:
    return (
        _der(0x18, at.strftime("%Y%m%d%H%M%SZ").encode())
        if at.year >= 2050
        else _der(0x17, at.strftime("%y%m%d%H%M%SZ").encode())
    )


def _pem(kind: str, content: bytes) -> str:
    text = base64.b64encode(content).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n"


def self_signed(name: str, days: int = 3650) -> tuple[str, str]:
    """Certificate and private key, both PEM, for 127.0.0.1 and localhost; the certificate is its own authority."""
    key = secrets.randbelow(_N - 1) + 1
    x, y = _times(key, _G)
    point = b"\x04" + x.to_bytes(32) + y.to_bytes(32)
    key_id = hashlib.sha1(point, usedforsecurity=False).digest()  # RFC 5280, 4.2.1.2 (1)
    now = datetime.now(UTC)
    subject = _sequence(_der(0x31, _sequence(_oid("2.5.4.3"), _der(0x0C, name.encode()))))
    algorithm = _sequence(_oid(_ECDSA_SHA256))
    names = _der(0x82, b"localhost") + _der(0x87, ipaddress.ip_address("127.0.0.1").packed)
    extensions = _sequence(
        _extension("2.5.29.19", _sequence(_der(0x01, b"\xff")), critical=True),  # basicConstraints: an authority
        _extension("2.5.29.15", _bits(b"\x84", 2), critical=True),  # keyUsage: digitalSignature, keyCertSign
        _extension("2.5.29.37", _sequence(_oid("1.3.6.1.5.5.7.3.1"))),  # extKeyUsage: serverAuth
        _extension("2.5.29.17", _der(0x30, names)),  # subjectAltName
        _extension("2.5.29.14", _der(0x04, key_id)),  # subjectKeyIdentifier
        _extension("2.5.29.35", _sequence(_der(0x80, key_id))),  # authorityKeyIdentifier
    )
    body = _sequence(
        _der(0xA0, _integer(2)),
        _integer(secrets.randbits(120) + 1),
        algorithm,
        subject,
        _sequence(_time(now - timedelta(days=1)), _time(now + timedelta(days=days))),
        subject,
        _sequence(_sequence(_oid(_EC_KEY), _oid(_P256)), _bits(point)),
        _der(0xA3, extensions),
    )
    certificate = _sequence(body, algorithm, _bits(_sign(key, body)))
    private = _sequence(_integer(1), _der(0x04, key.to_bytes(32)), _der(0xA0, _oid(_P256)), _der(0xA1, _bits(point)))
    return _pem("CERTIFICATE", certificate), _pem("EC PRIVATE KEY", private)
