//! Lets in clients whose target has several addresses (`ipv4:10.0.0.1:5150,10.0.0.2:5150`).
//!
//! gRPC's C core, which Python, C++ and Ruby build on, sends all of them in `:authority`, separated by commas.
//! That is no authority (RFC 3986, 3.2), and the HTTP library resets such calls. Nothing here goes by the authority,
//! so each comma in it becomes an `@` on its way in, which makes it one, of the same length.
//!
//! For that, frames (RFC 9113, 4.1) and header fields (RFC 7541, 6) are followed byte by byte; nothing is held
//! back and nothing else changed. What cannot be followed goes by as it is: at the next frame all is clear again.

/// What a connection begins with (RFC 9113, 3.4).
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// Bytes before the payload of a frame.
const HEAD: usize = 9;

/// The type of frames that begin header fields, and its flags for what stands before these.
const HEADERS: u8 = 1;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// The name that matters, and its number in the static table.
const NAME: &[u8] = b":authority";
const NUMBER: u8 = 1;

/// Where in the stream of bytes a connection is.
#[derive(Debug)]
pub(super) struct Authorities(Place);

#[derive(Debug)]
enum Place {
    /// So many bytes are of no interest.
    Skip(usize),
    /// In the head of a frame, of which so many bytes are known.
    Head([u8; HEAD], usize),
    /// Before or in header fields: so many bytes are left of the frame, so many of them before the first field.
    Fields {
        left: usize,
        before: usize,
        field: Field,
    },
}

/// Where in a header field.
#[derive(Clone, Copy, Debug)]
enum Field {
    /// Before the first byte.
    Start,
    /// In a number of several bytes that says nothing of interest; what comes after it.
    Number(&'static Field),
    /// Before the length of the name.
    NameLength,
    /// In the name: so many bytes are left; none of those before was another one than in [`NAME`].
    Name { left: usize, same: bool },
    /// Before the length of the value, whether it is an authority.
    ValueLength(bool),
    /// In the value.
    Value { left: usize, authority: bool },
    /// In a length of several bytes: its sum, where the next bits belong, and whether it is a value's.
    Length { sum: usize, shift: u32, value: bool },
}

impl Default for Authorities {
    fn default() -> Self {
        Self(Place::Skip(PREFACE))
    }
}

impl Authorities {
    /// Takes the next bytes of the connection, and puts them right.
    pub(super) fn mend(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = self.take(bytes);
            bytes = &mut bytes[taken..];
        }
    }

    /// Takes some of `bytes`, which are not none.
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        match &mut self.0 {
            Place::Skip(left) => {
                let taken = bytes.len().min(*left);
                *left -= taken;
                if *left == 0 {
                    self.0 = Place::Head([0; HEAD], 0);
                }
                taken
            }
            Place::Head(head, known) => {
                head[*known] = bytes[0];
                *known += 1;
                if *known == HEAD {
                    self.0 = Place::after(*head);
                }
                1
            }
            Place::Fields {
                left,
                before,
                field,
            } => {
                match before {
                    0 => *field = field.next(&mut bytes[0]),
                    _ => *before -= 1,
                }
                *left -= 1;
                if *left == 0 {
                    self.0 = Place::Head([0; HEAD], 0);
                }
                1
            }
        }
    }
}

impl Place {
    /// What follows a frame's head.
    fn after(head: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, ..] = head;
        let left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let extra = |flag, size| if flags & flag == 0 { 0 } else { size };
        match (kind, left) {
            (_, 0) => Self::Head([0; HEAD], 0),
            (HEADERS, _) => Self::Fields {
                left,
                before: extra(PADDED, 1) + extra(PRIORITY, 5),
                field: Field::Start,
            },
            _ => Self::Skip(left),
        }
    }
}

impl Field {
    /// What follows `byte`.
    fn next(self, byte: &mut u8) -> Self {
        match self {
            Self::Start => Self::begin(*byte),
            Self::Number(then) => match *byte & 0x80 {
                0 => *then,
                _ => self,
            },
            Self::NameLength | Self::ValueLength(_) if *byte & 0x7f == 0x7f => Self::Length {
                sum: 0x7f,
                shift: 0,
                value: matches!(self, Self::ValueLength(_)),
            },
            // The high bit says that it is compressed; C core compresses none.
            Self::NameLength => Self::name(usize::from(*byte & 0x7f), *byte == NAME.len() as u8),
            Self::ValueLength(authority) => {
                Self::value(usize::from(*byte & 0x7f), authority && *byte & 0x80 == 0)
            }
            Self::Name { left, same } => {
                let same = same && *byte == NAME[NAME.len() - left];
                Self::name(left - 1, same)
            }
            Self::Value { left, authority } => {
                if authority && *byte == b',' {
                    *byte = b'@';
                }
                Self::value(left - 1, authority)
            }
            Self::Length { sum, shift, value } => {
                let sum = sum.saturating_add(usize::from(*byte & 0x7f) << shift);
                match (*byte & 0x80, value) {
                    (0, true) => Self::value(sum, false),
                    (0, false) => Self::name(sum, false),
                    _ => Self::Length {
                        sum,
                        shift: (shift + 7).min(21),
                        value,
                    },
                }
            }
        }
    }

    /// What follows the first byte of a field.
    fn begin(byte: u8) -> Self {
        let (bits, literal) = match byte {
            0x80.. => (0x7f, false),
            0x40.. => (0x3f, true),
            0x20.. => (0x1f, false),
            _ => (0x0f, true),
        };
        match (byte & bits, literal) {
            (number, false) if number == bits => Self::Number(&Self::Start),
            (_, false) => Self::Start,
            (0, true) => Self::NameLength,
            (number, true) if number == bits => Self::Number(&Self::ValueLength(false)),
            (number, true) => Self::ValueLength(number == NUMBER),
        }
    }

    fn name(left: usize, same: bool) -> Self {
        match left {
            0 => Self::ValueLength(same),
            _ => Self::Name { left, same },
        }
    }

    fn value(left: usize, authority: bool) -> Self {
        match left {
            0 => Self::Start,
            _ => Self::Value { left, authority },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        [&head[..], payload].concat()
    }

    fn field(first: &[u8], value: &[u8]) -> Vec<u8> {
        [first, &[value.len() as u8], value].concat()
    }

    fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
        [vec![b'x'; PREFACE], frames.concat()].concat()
    }

    /// What becomes of `bytes`, however they come in pieces.
    fn mended(bytes: &[u8]) -> Vec<u8> {
        let whole = |size: usize| {
            let mut bytes = bytes.to_vec();
            let mut authorities = Authorities::default();
            bytes
                .chunks_mut(size)
                .for_each(|piece| authorities.mend(piece));
            bytes
        };
        let all = whole(bytes.len());
        for size in [1, 2, 7, 64] {
            assert_eq!(whole(size), all);
        }
        all
    }

    const TWO: &[u8] = b"10.0.0.1:1,10.0.0.2:2";
    const MENDED: &[u8] = b"10.0.0.1:1@10.0.0.2:2";

    #[test]
    fn the_commas_of_an_authority_become_something_that_one_may_have() {
        let named = [&[0x40, 10], NAME].concat();
        for first in [vec![0x41], vec![0x01], vec![0x11], named] {
            let around = |value: &[u8]| {
                // A value of 200 bytes, a field and a table size of several bytes, and one field of each kind.
                let long = [&[0x40, 1, b'a', 0x7f, 73][..], &[b','; 200]].concat();
                let before = [&[0x82, 0xff, 0x80, 0x01, 0x3f, 0xe1, 0x1f][..], &long].concat();
                let fields = [before, field(&first, value), field(&[0x44], b"/a,b")].concat();
                connection(&[
                    frame(4, 0, b",,,,,,"),
                    frame(HEADERS, 4, &fields),
                    frame(0, 1, b"\x41\x03a,b"),
                    frame(
                        HEADERS,
                        4 | PADDED | PRIORITY,
                        &[&[0; 6][..], &field(&first, value)].concat(),
                    ),
                ])
            };
            assert_eq!(mended(&around(TWO)), around(MENDED), "{first:?}");
            assert!(
                std::str::from_utf8(MENDED)
                    .unwrap()
                    .parse::<http::uri::Authority>()
                    .is_ok()
            );
        }
    }

    #[test]
    fn other_fields_and_authorities_are_left_alone() {
        let fields = [
            field(&[0x41], b"10.0.0.1:1"),
            field(
                &[
                    0x40, 10, b':', b'a', b'u', b't', b'h', b'o', b'r', b'i', b't', b'x',
                ],
                TWO,
            ),
            field(&[0x42], TWO),
            // Compressed.
            [&[0x41, 0x80 | TWO.len() as u8], TWO].concat(),
        ];
        let bytes = connection(&[frame(HEADERS, 4, &fields.concat())]);
        assert_eq!(mended(&bytes), bytes);
    }

    proptest! {
        #[test]
        fn whatever_comes_only_commas_change(bytes in prop::collection::vec(any::<u8>(), 1..400)) {
            let bytes = connection(&[frame(HEADERS, 0, &bytes), bytes]);
            for (before, after) in bytes.iter().zip(mended(&bytes)) {
                prop_assert!(*before == after || (*before, after) == (b',', b'@'));
            }
        }
    }
}
