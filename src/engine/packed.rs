//! Cells, one after the other in a block of bytes: each key says how much of it is as in the key before, so that what lies under
//! one key names that once.

/// Appends cells to a block.
pub(super) struct Packer<'b> {
    block: &'b mut Vec<u8>,
    /// Where the last key was put together, and the next one is.
    last: Vec<u8>,
    next: Vec<u8>,
}

impl<'b> Packer<'b> {
    pub fn new(block: &'b mut Vec<u8>) -> Self {
        Self { block, last: Vec::new(), next: Vec::new() }
    }

    /// How long the block is.
    pub fn length(&self) -> usize {
        self.block.len()
    }

    /// Appends a cell: `key` puts its key together. Without a value it says that the cell is gone.
    pub fn cell(&mut self, key: impl FnOnce(&mut Vec<u8>), value: Option<impl FnOnce(&mut Vec<u8>)>) {
        let Self { block, last, next } = self;
        next.clear();
        key(next);
        let shared = last.iter().zip(&*next).take_while(|(one, other)| one == other).count();
        put_length(shared, block);
        put_length(next.len() - shared, block);
        block.extend_from_slice(&next[shared..]);
        std::mem::swap(last, next);
        let Some(value) = value else { return block.push(0) };
        // Most values are short: their length takes one byte, which is moved where it does not.
        let start = block.len();
        block.push(0);
        value(block);
        let length = block.len() - start;
        let mut prefix = Vec::new();
        put_length(length, &mut prefix);
        block.splice(start..=start, prefix);
    }
}

fn put_length(mut length: usize, block: &mut Vec<u8>) {
    while length >= 0x80 {
        block.push(length as u8 | 0x80);
        length >>= 7;
    }
    block.push(length as u8);
}

/// The block is not one of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A cell: its key, and its value if it is not gone.
type Cell<'k, 'b> = (&'k [u8], Option<&'b [u8]>);

/// Reads the cells of a block.
pub(super) struct Unpacker<'b> {
    rest: &'b [u8],
    key: Vec<u8>,
}

impl<'b> Unpacker<'b> {
    pub fn new(block: &'b [u8]) -> Self {
        Self { rest: block, key: Vec::new() }
    }

    /// The next cell.
    pub fn next(&mut self) -> Result<Option<Cell<'_, 'b>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let shared = self.take_length()?;
        let own = self.take_length()?;
        if shared > self.key.len() {
            return Err(Malformed);
        }
        self.key.truncate(shared);
        let own = self.take(own)?;
        self.key.extend_from_slice(own);
        let value = match self.take_length()? {
            0 => None,
            length => Some(self.take(length - 1)?),
        };
        Ok(Some((&self.key, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_length(&mut self) -> Result<usize, Malformed> {
        let mut length = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            length |= usize::from(byte & 0x7f).checked_shl(shift).ok_or(Malformed)?;
            if byte < 0x80 {
                return Ok(length);
            }
        }
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            cells in proptest::collection::vec(
                (proptest::collection::vec(0_u8..3, 0..200), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300))),
                0..20,
            ),
        ) {
            let mut block = Vec::new();
            let mut packer = Packer::new(&mut block);
            for (key, value) in &cells {
                let value = value.as_ref().map(|value| |block: &mut Vec<u8>| block.extend_from_slice(value));
                packer.cell(|block| block.extend_from_slice(key), value);
            }
            let mut unpacker = Unpacker::new(&block);
            let mut read = Vec::new();
            while let Some((key, value)) = unpacker.next().unwrap() {
                read.push((key.to_vec(), value.map(<[u8]>::to_vec)));
            }
            prop_assert_eq!(read, cells);
        }

        #[test]
        fn any_bytes_are_cells_or_an_error(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut unpacker = Unpacker::new(&block);
            while let Ok(Some(_)) = unpacker.next() {}
        }
    }
}
