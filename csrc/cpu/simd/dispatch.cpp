// Which instruction set: the widest that the CPU and the system allow, or what FASTDENSE_ISA asks for if it is available.
#include <cstdlib>
#include <cstring>
#include <string>
#if defined(FD_NEON_BF16) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(FD_NEON_BF16) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include "cpu/simd/kernels.h"

namespace fd::cpu {

extern const Isa table_baseline, table_avx2, table_avx512;  // each if it was built: FD_AVX2, FD_AVX512
#ifdef FD_BF16
namespace isa_avx512bf16 {
extern const Bf16Kernels bf16;
}
#endif
#ifdef FD_NEON_BF16
namespace isa_neonbf16 {
extern const Bf16Kernels bf16;
}
#endif

namespace {

#ifdef FD_NEON_BF16
bool cpu_has_neon_bf16() {
#if defined(__linux__)
    constexpr unsigned long bf16 = 1ul << 14;  // HWCAP2_BF16, which older headers lack
    return getauxval(AT_HWCAP2) & bf16;
#elif defined(__APPLE__)
    int has = 0;
    size_t size = sizeof(has);
    return sysctlbyname("hw.optional.arm.FEAT_BF16", &has, &size, nullptr, 0) == 0 && has;
#else
    return false;
#endif
}
#endif

struct Choice {
    const Isa* table;
    bool usable;
};

const Choice* choices(int& count) {
#if defined(FD_AVX2) || defined(FD_AVX512)
    __builtin_cpu_init();
    // exactly what -march=x86-64-v3 and -v4 let the compiler use
    static const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                           __builtin_cpu_supports("popcnt");
#endif
#ifdef FD_AVX512
    static const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                           __builtin_cpu_supports("avx512vl");
#endif
#ifdef FD_BF16
    static const bool bf16 = v4 && __builtin_cpu_supports("avx512bf16");
    static const Isa table_avx512bf16 = [] {  // AVX-512 but for products of bfloat16
        Isa t = table_avx512;
        t.name = "avx512bf16";
        t.bf16 = &isa_avx512bf16::bf16;
        return t;
    }();
#endif
#ifdef FD_NEON_BF16
    static const bool neon_bf16 = cpu_has_neon_bf16();
    static const Isa table_neonbf16 = [] {  // the baseline but for products of bfloat16
        Isa t = table_baseline;
        t.name = "neonbf16";
        t.bf16 = &isa_neonbf16::bf16;
        return t;
    }();
#endif
    static const Choice all[] = {
        {&table_baseline, true},
#ifdef FD_AVX2
        {&table_avx2, v3},
#endif
#ifdef FD_AVX512
        {&table_avx512, v4},
#endif
#ifdef FD_BF16
        {&table_avx512bf16, bf16},
#endif
#ifdef FD_NEON_BF16
        {&table_neonbf16, neon_bf16},
#endif
    };
    count = 0;
    while (count < int(sizeof(all) / sizeof(all[0])) && all[count].usable) ++count;
    return all;
}

}  // namespace

int isa_count() {
    int n;
    choices(n);
    return n;
}
const char* isa_name(int i) {
    int n;
    return choices(n)[i].table->name;
}
const Isa* find_isa(const char* name) {
    int n;
    const Choice* all = choices(n);
    for (int i = 0; i < n; ++i)
        if (!std::strcmp(all[i].table->name, name)) return all[i].table;
    return nullptr;
}

bool forced_path(const char* path) {
    const char* wish = std::getenv("FASTDENSE_CPU_PATH");
    return wish && !std::strcmp(wish, path);
}

const Isa& isa() {
    static const Isa& chosen = []() -> const Isa& {
        const char* wish = std::getenv("FASTDENSE_ISA");
        if (!wish || !*wish) return *find_isa(isa_name(isa_count() - 1));
        if (const Isa* found = find_isa(wish)) return *found;
        std::string have;
        for (int i = 0; i < isa_count(); ++i) have += (i ? ", " : "") + std::string(isa_name(i));
        throw InvalidArgument("FASTDENSE_ISA='" + std::string(wish) +
                              "' is not available here; choose one of: " + have);
    }();
    return chosen;
}

}  // namespace fd::cpu
