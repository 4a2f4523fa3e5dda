// SPDX-License-Identifier: MIT
//
// The consumer of "Programming Memory-Mapped Files with the .NET Framework" (Jun Du, 2010), Simple IPC, for .NET on Linux.
// What was changed is said where it is.

using System;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Text;
using System.Threading;

namespace NetMMF_Consumer
{
    class Program
    {
        static void Main(string[] args)
        {
            byte[] buffer = new byte[32];

            // Changed: OpenExisting(args[0]). .NET has no named maps on Linux; the argument is a path.
            using (var mmf = MemoryMappedFile.CreateFromFile(args[0], FileMode.Open))
            {
                // Create accessor to MMF
                using (var accessor = mmf.CreateViewAccessor(0, buffer.Length)) // Changed: offset is 0
                {
                    // Wait for the lock
                    Mutex mutex = Mutex.OpenExisting(@"Global\MMF_IPC"); // Changed: was "MMF_IPC", see the provider
                    mutex.WaitOne();

                    // Read from MMF
                    accessor.ReadArray<byte>(0, buffer, 0, buffer.Length);

                    mutex.ReleaseMutex(); // Changed: it did not release
                    mutex.Close();
                }
            }
            Console.WriteLine(Encoding.ASCII.GetString(buffer)); // Changed: it did not show them
        }
    }
}
