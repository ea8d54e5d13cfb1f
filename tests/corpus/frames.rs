//! What holds for every input of `proto::websocket::frames`: shared by the corpus test and the fuzz
//! target.

use longsplice::proto::websocket::frames::Frames;

/// Panics if following `bytes` breaks a promise of `Frames`.
pub(crate) fn check(bytes: &[u8]) {
    let mut all = Frames::default();
    all.feed(bytes);
    let mut by_byte = Frames::default();
    let mut unseen = Frames::default();
    let mut frames = 0;
    for byte in bytes {
        let (left, was_over) = (by_byte.unseen_max(), is_over(by_byte));
        by_byte.feed(&[*byte]);
        if left > 0 {
            unseen.skip(1);
        } else {
            unseen.feed(&[*byte]);
        }
        assert_eq!(by_byte, unseen, "it matters whether a payload is seen");
        assert!(!was_over || is_over(by_byte), "known again");
        if left > 0 && !was_over {
            assert_eq!(by_byte.unseen_max(), left - 1, "a payload is counted wrong");
        }
        frames += usize::from(by_byte.at_boundary());
    }
    assert_eq!(all, by_byte, "it matters how the bytes come");
    assert!(frames * 2 <= bytes.len(), "a frame without a header");

    let mut beyond = all;
    if let Some(more) = all.unseen_max().checked_add(1) {
        beyond.skip(more);
        assert!(is_over(beyond), "a header was skipped");
    }
    let mut to_the_end = all;
    to_the_end.skip(all.unseen_max());
    assert_eq!(
        to_the_end.at_boundary(),
        all.at_boundary() || (1..u64::MAX).contains(&all.unseen_max())
    );
}

fn is_over(frames: Frames) -> bool {
    frames.unseen_max() == u64::MAX
}
