// SPDX-License-Identifier: MIT
//
// The class and the program of "Programming Memory-Mapped Files with the .NET Framework", Shared Memory. What was changed
// is said where it is; two of the changes are corrections that the class needs on every system.

using System;
using System.IO;
using System.Collections.Generic;
using System.IO.MemoryMappedFiles;
using System.Threading;

namespace NetSharedMemory
{
    public class SharedMemory<T> where T : struct
    {
        // Constructor
        public SharedMemory(string name, int size, string lockName = "SM_LOCK") // Changed: the lock's name may be given
        {
            smName = name;
            smSize = size;
            smLockName = lockName;
        }

        // Methods
        public bool Open()
        {
            try
            {
                if (Path.DirectorySeparatorChar == '\\')
                {
                    mmf = MemoryMappedFile.CreateOrOpen(smName, smSize);
                }
                else
                {
                    // Changed: a named map is Windows' only; here the name is that of a file, which has its size once it is
                    // made, so that who has made it may have put more behind the structure
                    bool exists = File.Exists(smName) && new FileInfo(smName).Length > 0;
                    mmf = MemoryMappedFile.CreateFromFile(smName, FileMode.OpenOrCreate, null, exists ? 0 : smSize);
                }

                // Create accessors to MMF
                accessor = mmf.CreateViewAccessor(0, smSize, MemoryMappedFileAccess.ReadWrite);

                // Corrected: with `true` the first process owned it, and never released it: nobody else could ever write
                bool locked; // Changed: was a member, which nobody read
                smLock = new Mutex(false, smLockName, out locked);
            }
            catch
            {
                return false;
            }

            return true;
        }

        public void Close()
        {
            accessor.Dispose();
            mmf.Dispose();
            smLock.Close();
        }

        public T Data
        {
            get
            {
                T dataStruct;
                Acquire(); // Corrected: without the lock half of a change could be read
                accessor.Read<T>(0, out dataStruct);
                smLock.ReleaseMutex();
                return dataStruct;
            }
            set
            {
                Acquire();
                accessor.Write<T>(0, ref value);
                smLock.ReleaseMutex();
            }
        }

        public void Acquire() // Changed: a process that died with the lock is no reason to end
        {
            try
            {
                smLock.WaitOne();
            }
            catch (AbandonedMutexException)
            {
            }
        }

        public void Release() // Changed: for several steps that belong together
        {
            smLock.ReleaseMutex();
        }

        // Data
        private string smName;
        private string smLockName;
        private Mutex smLock;
        private int smSize;
        private MemoryMappedFile mmf;
        private MemoryMappedViewAccessor accessor;
    }

    public struct Point
    {
        public int x;
        public int y;
    }

    public struct MyData
    {
        public int myInt;
        public Point myPt;
    }

    class Program
    {
        static int Main(string[] args) // Changed: NAME or FILE, LOCK, and for `Count` how often
        {
            SharedMemory<MyData> shmem = new SharedMemory<MyData>(args[0], args.Length > 3 ? int.Parse(args[3]) : 32, args[1]);
            if (!shmem.Open()) return 1;
            if (args.Length > 2 && args[2] != "-") return Count(shmem, int.Parse(args[2]));

            MyData data = new MyData();
            // Read from shared memory
            data = shmem.Data;
            Console.WriteLine("{0}, {1}, {2}", data.myInt, data.myPt.x, data.myPt.y);
            // Change some data
            data.myInt = 1;
            data.myPt.x = 2;
            data.myPt.y = 3;

            // Write back to shared memory
            shmem.Data = data;

            Console.WriteLine("press Enter to end"); // Changed: it said nothing
            // Press any key to exit
            Console.ReadLine(); // Changed: ReadKey needs a terminal

            // Close shared memory
            shmem.Close();
            return 0;
        }

        // Changed: added. Counts, in steps that belong together, while others do the same.
        static int Count(SharedMemory<MyData> shmem, int rounds)
        {
            for (int i = 0; i < rounds; i++)
            {
                shmem.Acquire();
                MyData data = shmem.Data;
                if (data.myInt != data.myPt.x) return 2;
                data.myInt++;
                data.myPt.x++;
                shmem.Data = data;
                shmem.Release();
            }
            shmem.Close();
            return 0;
        }
    }
}
