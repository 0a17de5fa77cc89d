# The CUDA engine: the Python module _cuda if nvcc is there, and the same sources over the emulator of tests/emulator for tests
# on machines without a GPU.

set(FD_CUDA OFF)
set(FD_CUDA_VERSION "off")
set(FD_CUDA_WANTED ${FASTDENSE_PYTHON})
set(CMAKE_CUDA_ARCHITECTURES "${FASTDENSE_CUDA_ARCHS}")
if(FASTDENSE_CUDA STREQUAL "OFF")
  set(FD_CUDA_WANTED OFF)
elseif(FASTDENSE_CUDA STREQUAL "AUTO") # for this machine: its own GPU, or nothing
  if(EXISTS /proc/driver/nvidia/version OR EXISTS /dev/nvidiactl OR EXISTS /dev/dxg)
    set(CMAKE_CUDA_ARCHITECTURES native)
  else()
    set(FD_CUDA_WANTED OFF)
  endif()
endif()
if(FD_CUDA_WANTED)
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(FD_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
    if(FD_NVCC)
      set(ENV{CUDACXX} "${FD_NVCC}") # not CMAKE_CUDA_COMPILER, which would skip the check below
    endif()
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static) # nothing of CUDA is needed to load the module
    enable_language(CUDA) # not find_package(CUDAToolkit): toolkits from PyPI lack what it looks for
    set(FD_CUDA ON)
    set(FD_CUDA_VERSION "${CMAKE_CUDA_COMPILER_VERSION}")
  elseif(FASTDENSE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FASTDENSE_CUDA=ON: no working CUDA compiler was found; set CUDACXX, or CUDAHOSTCXX if the host "
                        "compiler does not suit it")
  endif()
endif()
message(STATUS "fastdense: CUDA engine: ${FD_CUDA_VERSION}")

set(FD_CUDA_KERNELS # those that take longest to compile come first, so that no core waits for the last one
    csrc/cuda/wholenet/kernel_f32.cu csrc/cuda/wholenet/kernel_f64.cu csrc/cuda/fused_mlp/fused_mlp.cu csrc/cuda/fused_mlp/rows.cu
    csrc/cuda/layerwise/gemm_mma.cu csrc/cuda/layerwise/update.cu csrc/cuda/layerwise/gemm.cu csrc/cuda/layerwise/loss.cu
    csrc/cuda/layerwise/last_layer.cu csrc/cuda/layerwise/norm.cu csrc/cuda/layerwise/elementwise.cu
    csrc/cuda/layerwise/columns.cu csrc/cuda/layerwise/branches.cu csrc/cuda/layerwise/probe.cu
    csrc/cuda/layerwise/gather.cu)
set(FD_CUDA_HOST
    csrc/cuda/backend.cpp csrc/cuda/fused_mlp/fused_mlp.cpp csrc/cuda/layerwise/backward.cpp csrc/cuda/layerwise/hook.cpp
    csrc/cuda/layerwise/layers.cpp
    csrc/cuda/layerwise/lt.cpp csrc/cuda/layerwise/products.cpp csrc/cuda/population.cpp csrc/cuda/runtime/data.cpp
    csrc/cuda/runtime/runtime.cpp csrc/cuda/runtime/tuning.cpp csrc/cuda/wholenet/plan.cpp)
set(FD_CALIBRATE_HOST csrc/cuda/layerwise/lt.cpp csrc/cuda/layerwise/products.cpp csrc/cuda/runtime/runtime.cpp
                      csrc/cuda/runtime/tuning.cpp)
set(FD_EMULATOR tests/emulator/accesses.cpp tests/emulator/races.cpp tests/emulator/runtime.cpp)
set(FD_CUDA_BINDINGS csrc/bindings/cuda_module.cpp csrc/bindings/bind_engine.cpp csrc/bindings/bind_population.cpp
                     csrc/bindings/lowered.cpp)

function(add_cuda_engine)
  if(FD_CUDA)
    # Small nets in double are rare, and their kernel is large: newer GPUs compile it from PTX at its first use.
    set(doubles csrc/cuda/wholenet/kernel_f64.cu)
    set(kernels ${FD_CUDA_KERNELS})
    list(REMOVE_ITEM kernels ${doubles})
    add_library(fd_cuda_kernels OBJECT ${kernels})
    add_library(fd_cuda_doubles OBJECT ${doubles})
    set(architectures ${CMAKE_CUDA_ARCHITECTURES})
    if(90 IN_LIST architectures)
      list(REMOVE_ITEM architectures 100-real 120-real)
    endif()
    set_target_properties(fd_cuda_doubles PROPERTIES CUDA_ARCHITECTURES "${architectures}")
    # A spilled register is a slow kernel that nobody notices: ptxas's warning fails the build.
    set(compress -Xfatbin=-compress-all)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.9)
      set(compress --compress-mode=size)
    endif()
    foreach(target fd_cuda_kernels fd_cuda_doubles)
      target_include_directories(${target} PRIVATE csrc)
      target_compile_options(${target} PRIVATE --expt-relaxed-constexpr --threads=2 ${compress} -Xptxas=-warn-spills
                                               $<$<BOOL:${FASTDENSE_WERROR}>:-Xptxas=-Werror>)
    endforeach()
    pybind11_add_module(_cuda ${FD_CUDA_BINDINGS} ${FD_CUDA_HOST} csrc/cuda/layerwise/lt_library.cpp)
    target_include_directories(_cuda PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
    target_link_libraries(_cuda PRIVATE fd_cuda_kernels fd_cuda_doubles fd_base fd_hardened ${CMAKE_DL_LIBS})
    set_target_properties(_cuda PROPERTIES LINKER_LANGUAGE CXX)
    target_link_directories(_cuda PRIVATE ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES})
    target_link_libraries(_cuda PRIVATE cudart_static rt pthread)
    install(TARGETS _cuda LIBRARY DESTINATION fastdense)

    # For `python -m benchmarks gpu-calibrate`, when it is asked for; in no wheel.
    add_library(fastdense_calibrate MODULE EXCLUDE_FROM_ALL benchmarks/gpu/calibrate.cu ${FD_CALIBRATE_HOST}
                                           csrc/cuda/layerwise/lt_library.cpp)
    target_include_directories(fastdense_calibrate PRIVATE csrc ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
    target_compile_options(fastdense_calibrate PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)
    target_link_libraries(fastdense_calibrate PRIVATE fd_cuda_kernels fd_cuda_doubles fd_base ${CMAKE_DL_LIBS})
    set_target_properties(fastdense_calibrate PROPERTIES PREFIX "" LINKER_LANGUAGE CXX)
    target_link_directories(fastdense_calibrate PRIVATE ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES})
    target_link_libraries(fastdense_calibrate PRIVATE cudart_static rt pthread)
  endif()
  if(FASTDENSE_EMULATOR OR FASTDENSE_TESTS)
    add_emulator()
  endif()
  if(FASTDENSE_EMULATOR)
    add_emulated_engines()
  endif()
endfunction()

# The CUDA runtime on the CPU, compiled once for everything that runs on it.
function(add_emulator)
  add_library(fd_emulated INTERFACE)
  target_compile_definitions(fd_emulated INTERFACE FD_EMULATE)
  target_include_directories(fd_emulated INTERFACE tests/emulator)
  # longjmp between stacks is what fibers are made of; nvcc's pragmas mean nothing here
  target_compile_options(fd_emulated INTERFACE -U_FORTIFY_SOURCE -Wno-unknown-pragmas)
  target_link_libraries(fd_emulated INTERFACE fd_baseline)
  add_library(fd_emulator OBJECT ${FD_EMULATOR})
  target_link_libraries(fd_emulator PRIVATE fd_emulated)
endfunction()

# The engine as plain C++, for pytest --emulated-cuda: as it is, with its kernels' accesses checked for races, and with address and
# undefined-behaviour checks. Each is emulated/NAME/_cuda*.so in the build folder.
function(add_emulated_engines)
  set(kernels tests/emulator/fake_cublaslt.cpp)
  foreach(source IN LISTS FD_CUDA_KERNELS)
    get_filename_component(name ${source} NAME_WE)
    string(REGEX REPLACE "^csrc/" "" header ${source})
    set(wrapper ${CMAKE_BINARY_DIR}/emulated/${name}.cpp)
    file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"${header}\"\n")
    list(APPEND kernels ${wrapper})
  endforeach()
  # Calls what races.cpp defines, and needs no library. Four numbers that are moved at once are one access, as on a GPU.
  set(announce -fsanitize=thread $<$<CXX_COMPILER_ID:GNU>:-fno-tree-sra> -g1)
  set(check -fsanitize=address,undefined -fno-omit-frame-pointer -O1 -g1)

  # Bindings do no arithmetic, and their templates are most of a build's time: not optimised, without debug information.
  add_library(fd_emulated_bindings OBJECT ${FD_CUDA_BINDINGS} tests/emulator/lt_library.cpp)
  target_link_libraries(fd_emulated_bindings PRIVATE pybind11::module)
  target_compile_options(fd_emulated_bindings PRIVATE -O0 -g0)
  foreach(name plain checked)
    add_library(fd_engine_${name} OBJECT ${FD_CUDA_HOST})
  endforeach()
  add_library(fd_emulator_checked OBJECT ${FD_EMULATOR})
  foreach(name plain races checked)
    add_library(fd_kernels_${name} OBJECT ${kernels})
  endforeach()
  add_library(fd_emulator_test OBJECT tests/cpp/emulator_test.cpp csrc/cuda/runtime/runtime.cpp)
  target_compile_options(fd_kernels_races PRIVATE ${announce})
  target_compile_options(fd_emulator_test PRIVATE ${announce})
  foreach(target fd_kernels_checked fd_engine_checked fd_emulator_checked)
    target_compile_options(${target} PRIVATE ${check})
  endforeach()
  foreach(target fd_emulated_bindings fd_engine_plain fd_engine_checked fd_emulator_checked fd_kernels_plain
                 fd_kernels_races fd_kernels_checked fd_emulator_test)
    target_link_libraries(${target} PRIVATE fd_emulated)
  endforeach()

  foreach(name plain races checked)
    set(engine plain)
    set(emulator fd_emulator)
    if(name STREQUAL checked)
      set(engine checked)
      set(emulator fd_emulator_checked)
    endif()
    pybind11_add_module(_cuda_${name} $<TARGET_OBJECTS:fd_emulated_bindings> $<TARGET_OBJECTS:fd_engine_${engine}>
                        $<TARGET_OBJECTS:fd_kernels_${name}> $<TARGET_OBJECTS:${emulator}>)
    set_target_properties(_cuda_${name} PROPERTIES OUTPUT_NAME _cuda
                          LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/emulated/${name})
    target_link_libraries(_cuda_${name} PRIVATE fd_base ${CMAKE_DL_LIBS})
  endforeach()
  target_link_options(_cuda_checked PRIVATE -fsanitize=address,undefined)

  set(wrapper ${CMAKE_BINARY_DIR}/emulated/calibrate.cpp)
  file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"${CMAKE_SOURCE_DIR}/benchmarks/gpu/calibrate.cu\"\n")
  add_library(fastdense_calibrate_plain MODULE ${wrapper} tests/emulator/lt_library.cpp $<TARGET_OBJECTS:fd_engine_plain>
                                               $<TARGET_OBJECTS:fd_kernels_plain> $<TARGET_OBJECTS:fd_emulator>)
  target_link_libraries(fastdense_calibrate_plain PRIVATE fd_emulated fd_base ${CMAKE_DL_LIBS})
  set_target_properties(fastdense_calibrate_plain PROPERTIES PREFIX "" OUTPUT_NAME fastdense_calibrate
                        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/emulated/plain)
  add_executable(fastdense_emulator_test $<TARGET_OBJECTS:fd_emulator_test> $<TARGET_OBJECTS:fd_emulator>)
  target_link_libraries(fastdense_emulator_test PRIVATE fd_emulated fd_base ${CMAKE_DL_LIBS})
  add_custom_target(emulated DEPENDS _cuda_plain _cuda_races _cuda_checked fastdense_calibrate_plain fastdense_emulator_test)
endfunction()

function(add_cuda_tests)
  # cuBLASLt by a fake that computes on the CPU: products on the emulated runtime; the search, for a library by itself
  add_library(fd_fake_lt OBJECT tests/emulator/fake_cublaslt.cpp)
  add_library(fd_emulated_lt OBJECT csrc/cuda/layerwise/lt.cpp tests/emulator/lt_library.cpp)
  set(lt $<TARGET_OBJECTS:fd_emulated_lt> $<TARGET_OBJECTS:fd_fake_lt> $<TARGET_OBJECTS:fd_emulator>)
  add_executable(fastdense_lt_test tests/cpp/lt_test.cpp ${lt})
  add_executable(fastdense_lt_device tests/cpp/lt_device.cpp ${lt}) # made for a GPU; here it runs at all
  add_library(fd_fake_cublaslt SHARED tests/emulator/fake_cublaslt.cpp $<TARGET_OBJECTS:fd_emulator>)
  foreach(target fd_fake_lt fd_emulated_lt fastdense_lt_test fastdense_lt_device fd_fake_cublaslt)
    target_link_libraries(${target} PRIVATE fd_emulated)
  endforeach()
  set(FD_FAKE_CUBLASLT_FOLDER "${CMAKE_CURRENT_BINARY_DIR}/fake_cublaslt")
  set_target_properties(
    fd_fake_cublaslt PROPERTIES OUTPUT_NAME cublasLt SUFFIX .so.13 CXX_VISIBILITY_PRESET default
                                LIBRARY_OUTPUT_DIRECTORY "${FD_FAKE_CUBLASLT_FOLDER}")
  add_executable(fastdense_lt_library_test tests/cpp/lt_library_test.cpp csrc/cuda/layerwise/lt_library.cpp)
  target_link_libraries(fastdense_lt_library_test PRIVATE fd_base ${CMAKE_DL_LIBS})
  add_dependencies(fastdense_lt_library_test fd_fake_cublaslt)
  add_test(NAME lt COMMAND fastdense_lt_test)
  add_test(NAME lt_device COMMAND fastdense_lt_device)
  add_test(NAME lt_library COMMAND fastdense_lt_library_test "${FD_FAKE_CUBLASLT_FOLDER}")
  add_test(NAME lt_library_loaded COMMAND fastdense_lt_library_test "${FD_FAKE_CUBLASLT_FOLDER}" loaded)
  if(FASTDENSE_CUBLAS_INCLUDE) # the folder of cublasLt.h: our declarations against NVIDIA's, at compile time
    find_path(FD_CUDA_INCLUDE cuda_runtime_api.h HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda
              PATH_SUFFIXES include REQUIRED)
    add_library(fastdense_lt_header_check OBJECT tests/cpp/lt_header_check.cpp)
    target_link_libraries(fastdense_lt_header_check PRIVATE fd_flags)
    target_include_directories(fastdense_lt_header_check SYSTEM PRIVATE "${FASTDENSE_CUBLAS_INCLUDE}" "${FD_CUDA_INCLUDE}")
  endif()
endfunction()
