#include "cuda/layerwise/lt_library.h"

#include <dlfcn.h>

#include <mutex>
#include <utility>

namespace fd::cuda::lt {
namespace {

constexpr const char* file_name = "libcublasLt.so.13";

struct Library {
    std::mutex lock;
    std::vector<std::string> folders;
    bool searched = false, found = false;
    Functions functions{};
    std::string path, tried;
};
Library& library() {
    static Library instance;
    return instance;
}

std::string last_error(const std::string& otherwise) {
    const char* text = dlerror();
    return text ? text : otherwise;
}

// Null, or the name of what is missing.
const char* bind(void* file, Functions& f) {
#define FD_BIND(field, symbol)                                           \
    f.field = reinterpret_cast<decltype(f.field)>(dlsym(file, #symbol)); \
    if (!f.field) return #symbol;
    FD_CUBLASLT(FD_BIND)
#undef FD_BIND
    return nullptr;
}

bool open(Library& l, const std::string& name, int flags, const std::string& refusal) {
    void* file = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | flags);
    if (!file) {
        const std::string error = last_error(name + ": cannot be opened");
        l.tried += "\n  " + (refusal.empty() ? error : refusal);
        return false;
    }
    if (const char* missing = bind(file, l.functions)) {
        l.tried += "\n  " + name + ": has no " + missing;
        dlclose(file);
        return false;
    }
    Dl_info info;
    l.path = dladdr(reinterpret_cast<void*>(l.functions.create), &info) && info.dli_fname ? info.dli_fname : name;
    return true;
}

void search(Library& l) {
    l.searched = true;
    l.tried.clear();
    l.found =
        open(l, file_name, RTLD_NOLOAD, std::string(file_name) + ": no other package of this process has loaded it");
    for (size_t i = 0; !l.found && i < l.folders.size(); ++i) l.found = open(l, l.folders[i] + "/" + file_name, 0, "");
    if (!l.found) l.found = open(l, file_name, 0, "");
}

}  // namespace

void set_library_folders(std::vector<std::string> folders) {
    Library& l = library();
    const std::lock_guard<std::mutex> guard(l.lock);
    l.folders = std::move(folders);
    l.searched = l.found;
}

const Functions* functions() {
    Library& l = library();
    const std::lock_guard<std::mutex> guard(l.lock);
    if (!l.searched) search(l);
    return l.found ? &l.functions : nullptr;
}

std::string why_unavailable() {
    if (functions()) return "";
    Library& l = library();
    const std::lock_guard<std::mutex> guard(l.lock);
    return "cuBLASLt 13 was not found; `pip install fastdense[cuda]` installs it. Tried:" + l.tried;
}

std::string path() { return functions() ? library().path : ""; }

size_t version() {
    const Functions* f = functions();
    return f ? f->version() : 0;
}

}  // namespace fd::cuda::lt
