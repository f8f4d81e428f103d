//! Which versions of the protocol a node speaks, and which of them two nodes speak with each other.

use std::fmt;

use synod_core::NodeId;

use crate::refusal::{Kind, Turned};

/// What this program speaks.
pub(crate) const SPOKEN: Versions = Versions { oldest: 8, newest: 8 };

/// Before this version a node said only one number.
pub(crate) const FIRST_OF_RANGES: u16 = 6;

/// The versions that a node speaks: these two, and all in between.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Versions {
    pub(crate) oldest: u16,
    pub(crate) newest: u16,
}

impl Versions {
    /// The highest version that both speak, which both sides reckon by themselves.
    pub(crate) fn common(self, theirs: Self) -> Option<u16> {
        let highest = self.newest.min(theirs.newest);
        (self.oldest.max(theirs.oldest) <= highest).then_some(highest)
    }

    /// The version that `me`, which speaks these, speaks with `peer`, or who of the two is to be upgraded.
    pub(crate) fn agree(self, theirs: Self, me: NodeId, peer: NodeId) -> Result<u16, Turned> {
        self.common(theirs).ok_or_else(|| {
            let older = if self.newest < theirs.newest { me } else { peer };
            let text = format!("{peer} speaks {theirs} and {me} speaks {self}: upgrade {older}");
            Turned::new(Kind::Version, text).claiming(Some(peer))
        })
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oldest, newest } = self;
        if oldest == newest {
            write!(f, "synod/{newest}")
        } else {
            write!(f, "synod/{oldest} to synod/{newest}")
        }
    }
}

/// What a node and its peer speak with each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Agreed {
    pub(crate) version: u16,
    /// All that the peer speaks.
    pub(crate) theirs: Versions,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: NodeId = NodeId(1);
    const PEER: NodeId = NodeId(2);

    fn versions(oldest: u16, newest: u16) -> Versions {
        Versions { oldest, newest }
    }

    proptest! {
        #[test]
        fn both_sides_choose_the_same_version_and_there_is_no_higher_one(
            a in (0..20_u16, 0..20_u16),
            b in (0..20_u16, 0..20_u16),
        ) {
            let [a, b] = [a, b].map(|(one, other)| versions(one.min(other), one.max(other)));
            prop_assert_eq!(a.common(b), b.common(a));
            let speaks = |who: Versions, it: &u16| (who.oldest..=who.newest).contains(it);
            let highest = (0..20).rev().find(|it| speaks(a, it) && speaks(b, it));
            prop_assert_eq!(a.common(b), highest);
        }
    }

    #[test]
    fn a_cluster_is_upgraded_one_node_at_a_time() {
        let (before, during, after) = (versions(6, 6), versions(6, 7), versions(7, 8));
        assert_eq!(before.common(during), Some(6));
        assert_eq!(during.common(after), Some(7));
        assert_eq!(before.common(after), None, "two steps at once");
    }

    #[test]
    fn whoever_speaks_only_older_versions_is_to_be_upgraded_in_the_same_words_on_both_sides() {
        let (old, new) = (versions(5, 5), versions(6, 7));
        let older = "n2 speaks synod/5 and n1 speaks synod/6 to synod/7: upgrade n2";
        assert_eq!(new.agree(old, ME, PEER).unwrap_err().text, older);
        let newer = "n2 speaks synod/6 to synod/7 and n1 speaks synod/5: upgrade n1";
        let turned = old.agree(new, ME, PEER).unwrap_err();
        assert_eq!((turned.text.as_str(), turned.kind), (newer, Kind::Version));
    }
}
