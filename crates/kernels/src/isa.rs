//! Which instruction set the kernels use: detected once, or forced by `LIMPID_ISA`.

use std::fmt;

/// An instruction-set level. Each includes those before it. All give the same bytes (design rule 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Isa {
    /// Plain Rust on `[f32; 16]`; the oracle of the others.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// The above and VNNI.
    Avx512Vnni,
    /// The above and BF16.
    Avx512Bf16,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IsaError {
    #[error(
        "LIMPID_ISA={0}: not an instruction set; use one of portable, avx2, avx512, avx512vnni, avx512bf16"
    )]
    Unknown(String),
    #[error("LIMPID_ISA={asked}: this processor does not have it; the most it has is {best}")]
    Missing { asked: Isa, best: Isa },
}

impl Isa {
    pub const ALL: [Isa; 5] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Vnni, Isa::Avx512Bf16];

    /// The best level that this processor has.
    pub fn detect() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            let vnni = avx512 && is_x86_feature_detected!("avx512vnni");
            if vnni && is_x86_feature_detected!("avx512bf16") {
                return Isa::Avx512Bf16;
            }
            if vnni {
                return Isa::Avx512Vnni;
            }
            if avx512 {
                return Isa::Avx512;
            }
            if avx2 {
                return Isa::Avx2;
            }
        }
        Isa::Portable
    }

    /// All levels that this processor has, for tests.
    pub fn available() -> impl Iterator<Item = Isa> {
        let best = Isa::detect();
        Isa::ALL.into_iter().filter(move |&isa| isa <= best)
    }

    /// The level to use: `forced` (the value of `LIMPID_ISA`) if there is one, else the best.
    pub fn choose(forced: Option<&str>) -> Result<Isa, IsaError> {
        let best = Isa::detect();
        let Some(name) = forced else { return Ok(best) };
        let asked = Isa::ALL
            .into_iter()
            .find(|isa| isa.to_string() == name)
            .ok_or_else(|| IsaError::Unknown(name.to_owned()))?;
        if asked > best { Err(IsaError::Missing { asked, best }) } else { Ok(asked) }
    }
}

/// Whether this processor's 512-bit vectors go through its units as two halves: AMD's Zen 4 (family 19h).
pub(crate) fn has_halved_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid;
        // SAFETY: every x86-64 processor has this instruction and these leaves.
        #[allow(unused_unsafe, reason = "newer compilers need none")]
        let (vendor, version) = unsafe { (__cpuid(0), __cpuid(1).eax) };
        let is_amd = (vendor.ebx, vendor.edx, vendor.ecx)
            == (u32::from_le_bytes(*b"Auth"), u32::from_le_bytes(*b"enti"), u32::from_le_bytes(*b"cAMD"));
        // The extended family is added to the family where that is all ones, as it is here.
        let family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
        is_amd && family == 0x19 && Isa::detect() >= Isa::Avx512
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Avx512Bf16 => "avx512bf16",
        })
    }
}
