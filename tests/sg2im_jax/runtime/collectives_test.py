"""The bytes that a compiled program sends between devices; those of a step: sharding_test."""

from benchmarks.collectives import collective_bytes


def test_bytes_by_kind():
  assert collective_bytes("""
  %sum.3 = (f32[8,4]{1,0:T(8,128)}, /*index=1*/bf16[16]{0}) all-reduce(%a, %b), channel_id=1
  gather = ((f32[2]{0}), f32[4]{0}) all-gather-start(%x), dimensions={0}
  done = f32[4]{0} all-gather-done(gather)
  ROOT %any = pred[] all-reduce(%q)
  %moved = f8e4m3fn[10]{0} collective-permute(%all-gather.1)
  %next = s32[] add(%all-reduce.3, %y)
""") == {'all-reduce': 8 * 4 * 4 + 16 * 2 + 1, 'all-gather': 16, 'collective-permute': 10}
