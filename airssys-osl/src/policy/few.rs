//! Some things, of which there is nearly always one: that one stands where the others would be pointed to.

/// Nothing, one or more, in the order in which they came.
#[derive(Debug)]
pub(super) struct Few<T> {
    first: Option<T>,
    more: Vec<T>,
}

impl<T> Few<T> {
    pub(super) fn push(&mut self, item: T) {
        match &self.first {
            None => self.first = Some(item),
            Some(_) => self.more.push(item),
        }
    }

    /// What `f` makes of the first that it takes.
    #[inline]
    pub(super) fn find_map<'a, R>(&'a self, mut f: impl FnMut(&'a T) -> Option<R>) -> Option<R> {
        let first = f(self.first.as_ref()?);
        if first.is_some() || self.more.is_empty() { first } else { self.more.iter().find_map(f) }
    }

    /// The first that `f` takes.
    #[inline]
    pub(super) fn find(&self, mut f: impl FnMut(&T) -> bool) -> Option<&T> {
        self.find_map(|item| f(item).then_some(item))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.more)
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { first: None, more: Vec::new() }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}
