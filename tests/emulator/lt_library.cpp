// Test-only: stands in for csrc/cuda/layerwise/lt_library.cpp in the emulated module. The library is the fake that is linked in,
// never a real cuBLASLt of the process; a folder called "absent" makes it absent, for tests of what happens then.
#include "cuda/layerwise/lt_library.h"

#include <algorithm>

namespace fd::cuda::lt {
namespace {

template <class F>
struct Signature;
template <class R, class... A>
struct Signature<R (*)(A...)> {
    using Function = R(A...);
};

bool absent = false;

}  // namespace

extern "C" {
#define FD_DECLARE(field, symbol) Signature<decltype(Functions::field)>::Function symbol;
FD_CUBLASLT(FD_DECLARE)
#undef FD_DECLARE
}

void set_library_folders(std::vector<std::string> folders) {
    absent = std::find(folders.begin(), folders.end(), "absent") != folders.end();
}

const Functions* functions() {
#define FD_FIELD(field, symbol) symbol,
    static const Functions fake{FD_CUBLASLT(FD_FIELD)};
#undef FD_FIELD
    return absent ? nullptr : &fake;
}

std::string why_unavailable() {
    return absent ? "cuBLASLt 13 was not found; `pip install fastdense[cuda]` installs it. Tried:\n  absent" : "";
}

std::string path() { return absent ? "" : "emulated"; }

size_t version() { return absent ? 0 : functions()->version(); }

}  // namespace fd::cuda::lt
