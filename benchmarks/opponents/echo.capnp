@0xb5a1f0c3d2e49687;

interface Echo {
  echo @0 (body :Data) -> (body :Data);
}
